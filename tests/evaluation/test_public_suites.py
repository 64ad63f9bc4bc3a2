import http.server
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from recert.digest import sha256_bytes, sha256_file
from recert.errors import SuiteError
from recert.evaluation.suites import public_categories
from recert.evaluation.suites.public_sets import PUBLIC_SETS
from recert.evaluation.suites.public_suites import download, find_copy, public_suite
from recert.records.data.suite import CATEGORIES

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public files in {DATA}")

SST = (
    "id,harm_area,counter,category,prompts_final\n"
    "a,Scams and Fraud,1,Information,invented request one\n"
    "b,Physical Harm,1,Instructions,invented request two\n"
)
SORRY = (
    '{"question_id": 1, "category": "5", "turns": ["invented request one"], "prompt_style": "base"}\n'
    '{"question_id": 2, "category": 28, "turns": ["invented request two"], "prompt_style": "base"}\n'
    '{"question_id": 2, "category": 28, "turns": ["the same in slang"], "prompt_style": "slang"}\n'
)
HARMBENCH = (
    "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
    "invented request one,standard,illegal,,,one\n"
    'invented request two,contextual,harmful,context,"what it is about, in full",two\n'
)


def written(path: Path, text: str) -> Path:
    """Write a small file in the form of a public set, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@needs_data
def test_public_sets_are_read_from_a_local_copy():
    """Every set in the folder has as many prompts as its paper says, all of the expectation of its kind."""
    counts = {
        "strongreject": (313, "refuse"),
        "advbench": (520, "refuse"),
        "jailbreakbench": (100, "refuse"),
        "xstest-safe": (250, "comply"),
        "xstest-unsafe": (200, "refuse"),
    }
    for name, (count, expect) in counts.items():
        suite = public_suite(name, DATA)

        assert (suite.name, len(suite.prompts)) == (name, count)
        assert {p.expect for p in suite.prompts} == {expect}
        assert PUBLIC_SETS[name].revision[:12] in suite.provenance
        assert suite.provenance.endswith("(known)")
        assert public_suite(name, DATA) == suite


@needs_data
def test_ailuminates_demo_prompts_are_in_its_own_categories():
    """Twelve hundred prompts, a hundred of each of the twelve hazards, none under a code."""
    suite = public_suite("ailuminate-demo", DATA / "ailuminate_demo_en_us.csv")

    assert Counter(p.category for p in suite.prompts) == dict.fromkeys(CATEGORIES, 100)
    assert suite.provenance.endswith("(known)")


@needs_data
def test_the_file_of_another_set_is_never_read():
    """Harmful requests do not become benign ones by a digest of the user's own."""
    with pytest.raises(SuiteError, match="no copy"):
        public_suite("jailbreakbench-benign", DATA)
    path = DATA / "jailbreakbench.csv"
    with pytest.raises(SuiteError, match="it is      jailbreakbench"):
        public_suite("jailbreakbench-benign", path, sha256=sha256_file(path))


@needs_data
def test_the_categories_of_a_public_set_are_named_as_elsewhere():
    """What AILuminate has a name for gets that name beside the set's own; what it has none for keeps its own word."""
    found = {(p.category, p.source_category) for p in public_suite("strongreject", DATA).prompts}

    assert ("hate", "Hate, harassment and discrimination") in found
    assert ("disinformation_and_deception", "Disinformation and deception") in found
    assert Counter(p.category for p in public_suite("xstest-unsafe", DATA).prompts)["privacy"] == 25


def test_every_map_leads_to_a_hazard_of_ailuminate():
    """No map names a hazard that does not exist, and SORRY-Bench has its 44 codes."""
    maps = [
        m
        for n, m in vars(public_categories).items()
        if n.isupper() and not n.endswith("CODES") and n[0] != "_"
    ]

    assert len(maps) == 9
    assert {hazard for one in maps for hazard in one.values()} <= set(CATEGORIES)
    assert [*public_categories.SORRY_BENCH_CODES] == [str(code) for code in range(1, 45)]


def test_every_entry_is_frozen():
    """Each set names a commit, its licence and its paper; known digests are whole."""
    assert len(PUBLIC_SETS) == 14
    for one in PUBLIC_SETS.values():
        assert len(one.revision) == 40
        assert one.licence
        assert one.paper[4] == "."
        assert all(len(digest) == 64 for digest in one.sha256)
        assert one.source == "hub" or one.sha256, (
            "what comes from the web without a hub is known by its digest"
        )


def test_every_set_is_in_the_docs_with_its_licence_and_paper():
    """The table of the page on suites has each set's name, source, licence and paper."""
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "suites.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    for one in PUBLIC_SETS.values():
        row = next(line for line in rows if f"`{one.name}`" in line)
        assert one.repository in row
        assert one.paper in row
        assert one.licence.split(" ")[0].rstrip(",") in row
        assert ("unknown" in row) == (not one.sha256)


def test_a_changed_file_is_refused_with_both_digests(tmp_path):
    """One changed byte: the error names the expected and the found sha256, and a digest of one's own is a yes."""
    path = written(tmp_path / "simple-safety-tests.csv", SST)
    found = sha256_file(path)

    with pytest.raises(SuiteError) as refused:
        public_suite("simple-safety-tests", path)
    assert PUBLIC_SETS["simple-safety-tests"].sha256[0] in str(refused.value)
    assert found in str(refused.value)

    suite = public_suite("simple-safety-tests", path, sha256=found.upper())
    assert [(p.text, p.category, p.source_category) for p in suite.prompts] == [
        ("invented request one", "non_violent_crimes", "Scams and Fraud"),
        ("invented request two", "violent_crimes", "Physical Harm"),
    ]
    assert "given by the user, not known to Recert" in suite.provenance

    with pytest.raises(SuiteError, match="as it is known"):
        public_suite("simple-safety-tests", path, sha256="0" * 64)


def test_a_set_whose_digest_is_not_known_says_so(tmp_path):
    """Without a digest of the user's own it is refused, and the error says which digest the file has."""
    path = written(tmp_path / "question.jsonl", SORRY)

    with pytest.raises(SuiteError, match="not known to Recert") as refused:
        public_suite("sorry-bench", path)
    assert sha256_file(path) in str(refused.value)

    suite = public_suite("sorry-bench", tmp_path, sha256=sha256_file(path))
    assert [(p.text, p.category, p.source_category) for p in suite.prompts] == [
        ("invented request one", "defamation", "Libelous Words"),
        ("invented request two", "fake_news_generation", "Fake News Generation"),
    ]


def test_a_request_with_a_context_is_asked_with_it(tmp_path):
    """HarmBench's contextual behaviours come after the text that they are about."""
    path = written(tmp_path / "x.csv", HARMBENCH)
    suites = [public_suite(n, path, sha256=sha256_file(path)) for n in ("harmbench", "harmbench-standard")]

    assert [len(s.prompts) for s in suites] == [2, 1]
    assert suites[0].prompts[1].text == "what it is about, in full\n\n---\n\ninvented request two"


@pytest.mark.parametrize(
    "place",
    [
        "sst.csv",
        "SimpleSafetyTests - test cases.csv",
        "simple-safety-tests.csv",
        "bertiev/SimpleSafetyTests/SimpleSafetyTests - test cases.csv",
        "SimpleSafetyTests/SimpleSafetyTests - test cases.csv",
        "datasets--bertiev--SimpleSafetyTests/snapshots/0123/SimpleSafetyTests - test cases.csv",
        "hub/datasets--bertiev--SimpleSafetyTests/snapshots/0123/SimpleSafetyTests - test cases.csv",
    ],
)
def test_a_copy_is_found_wherever_it_is_usually_kept(tmp_path, monkeypatch, place):
    """By its own name, by the set's, as its repository lies, or in the Hub's cache; given or in RECERT_DATA."""
    path = written(tmp_path / place, SST)
    one = PUBLIC_SETS["simple-safety-tests"]
    monkeypatch.setenv("RECERT_DATA", str(tmp_path))

    assert find_copy(one, path) == path
    if place != "sst.csv":
        assert find_copy(one, tmp_path) == path
        assert find_copy(one, None) == path


def test_of_two_copies_the_known_one_is_read(tmp_path):
    """A damaged copy beside a good one is passed over."""
    one = replace(PUBLIC_SETS["simple-safety-tests"], sha256=(sha256_bytes(SST.encode()),))
    written(tmp_path / Path(one.file).name, SST + "c,Physical Harm,1,x,y\n")
    good = written(tmp_path / "simple-safety-tests.csv", SST)

    assert find_copy(one, tmp_path) == good


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    """An unknown set lists those there are; a folder without the file says what was looked for."""
    monkeypatch.delenv("RECERT_DATA", raising=False)
    with pytest.raises(SuiteError, match="xstest-safe"):
        public_suite("nothing")
    with pytest.raises(SuiteError, match="no copy of the public set there"):
        public_suite("xstest-safe", tmp_path)
    with pytest.raises(SuiteError, match="64 hex digits"):
        public_suite("xstest-safe", tmp_path, sha256="abc")
    path = written(tmp_path / "xstest.csv", "prompt\nx\n")
    with pytest.raises(SuiteError, match="label"):
        public_suite("xstest-safe", path, sha256=sha256_file(path))


@contextmanager
def served(routes: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """Serve fixed answers over HTTP on this machine, and yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = routes.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_set_from_the_web_is_kept_once_it_is_the_right_one(tmp_path, monkeypatch):
    """A download with another digest is refused and not kept; the right one is kept and not asked for again."""
    monkeypatch.setenv("RECERT_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    one = replace(PUBLIC_SETS["simple-safety-tests"], sha256=(sha256_bytes(SST.encode()),))
    path = f"/{one.repository}/{one.revision}/SimpleSafetyTests%20-%20test%20cases.csv"
    with served({path: (200, {}, b"something else")}) as address:
        with pytest.raises(SuiteError, match="not the public set as it is known"):
            download(one, github=address)
        assert not list(tmp_path.rglob("*.csv"))
    with served({path: (200, {}, SST.encode())}) as address:
        kept = download(one, github=address)
        assert kept.read_text() == SST

    assert download(one, github=address) == kept
    shutil.rmtree(tmp_path / "suites")
    with pytest.raises(SuiteError, match="RECERT_DATA"):
        download(one, github=address)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SuiteError, match="HF_HUB_OFFLINE is set"):
        download(one)


HUB = """
import sys
from recert.errors import RecertError
from recert.evaluation.suites.public_suites import public_suite
for name, sha256 in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        print(public_suite(name, sha256=sha256).to_json().decode())
    except RecertError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_set_is_downloaded_from_the_hub_at_its_commit(tmp_path):
    """huggingface_hub fetches the file of the frozen commit; a gated set says which page to go to."""
    pytest.importorskip("huggingface_hub")
    one, gated = PUBLIC_SETS["or-bench-toxic"], PUBLIC_SETS["sorry-bench"]
    body = b"prompt,category\ninvented request,self-harm\n"
    headers = {"X-Repo-Commit": one.revision, "ETag": '"0123456789abcdef"'}
    restricted = {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"}
    routes = {
        f"/datasets/{one.repository}/resolve/{one.revision}/{one.file}": (200, headers, body),
        f"/datasets/{gated.repository}/resolve/{gated.revision}/{gated.file}": (403, restricted, b""),
    }
    with served(routes) as address:
        done = subprocess.run(
            [sys.executable, "-c", HUB, one.name, sha256_bytes(body), gated.name, "0" * 64],
            capture_output=True,
            text=True,
            check=True,
            env={"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_ENDPOINT": address},
        )
    said, refused = done.stdout.split("\n", 1)

    assert '"category":"suicide_self_harm"' in said
    assert "gated" in refused
    assert gated.page in refused
    assert "HF_TOKEN" in refused
