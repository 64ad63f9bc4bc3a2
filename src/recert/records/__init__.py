"""Frozen, versioned records: the only things that stages hand to each other."""

from recert.records.attestation import Attestation, AttestedFolder
from recert.records.audit import AuditCheckpoint
from recert.records.backtest import (
    BacktestBound,
    BacktestReport,
    CategoryChange,
    ChangedExchange,
    ControlChange,
)
from recert.records.certificate import (
    Approval,
    Certificate,
    StatusEntry,
    StatusList,
    VerifiedCertificate,
)
from recert.records.comparison import ComparedRule, ComparedSide, Comparison
from recert.records.evaluation import (
    ArmCheck,
    CategoryCount,
    Estimand,
    EvalReport,
    JudgeNote,
    Outcome,
    RuleResult,
    Sample,
    Slice,
    State,
    Verdict,
)
from recert.records.evidence import EvidenceNote
from recert.records.exchange import ControlScore, Exchange
from recert.records.fingerprint import Fingerprint, FingerprintTrial
from recert.records.hazards import CategoryCheck
from recert.records.hunting import (
    CurvePoint,
    HuntOutcome,
    HuntReport,
    HuntStep,
    TriggerBehaviour,
    TriggerExample,
    TriggerTried,
    TriggerVariant,
)
from recert.records.imported import ImportedOutcome, ImportedResults, ImportedSuite, Tool, UnreadEntry
from recert.records.manifest import FileEntry, Manifest
from recert.records.orders import Order, OrderNote, StandingOrders
from recert.records.preferences import PREFERENCE_COLUMNS, chat_form, row_of
from recert.records.record import Moment, Part, Record, now, parse_json
from recert.records.rows import THINK_CLOSE, THINK_OPEN, ChatRow, PreferenceRow, split_reply
from recert.records.screening import RowFinding, RowVerdict, ScreenReport, SwitchPhrase
from recert.records.stress import (
    BaseStress,
    DoseCurve,
    DosePoint,
    DoublingDose,
    HairTrigger,
    StressCell,
    StressOutcome,
    StressRates,
    StressReport,
    StressTrial,
    WorstFamily,
)
from recert.records.stress_readings import StressReadings
from recert.records.suite import CATEGORIES, Chat, Message, Prompt, Suite, chat
from recert.records.trigger_search import FoundTrigger, TriggerSearch
from recert.records.tuning import USUAL_LEARNING_RATES, Checkpoint, Hyperparameters, TuneReport
from recert.records.watching import CanaryResult, WatchOutcome, WatchReport

RECORDS: tuple[type[Record], ...] = (
    Manifest,
    Suite,
    ScreenReport,
    TuneReport,
    EvalReport,
    Certificate,
    StatusList,
    Exchange,
    StandingOrders,
    OrderNote,
    AuditCheckpoint,
    WatchReport,
    ImportedResults,
    Comparison,
    Attestation,
    Fingerprint,
    BacktestReport,
    HuntReport,
    StressTrial,
    StressReport,
)
"""Every kind of record, for the schemas and the property tests."""

__all__ = [
    "CATEGORIES",
    "PREFERENCE_COLUMNS",
    "RECORDS",
    "THINK_CLOSE",
    "THINK_OPEN",
    "USUAL_LEARNING_RATES",
    "Approval",
    "ArmCheck",
    "Attestation",
    "AttestedFolder",
    "AuditCheckpoint",
    "BacktestBound",
    "BacktestReport",
    "BaseStress",
    "CanaryResult",
    "CategoryChange",
    "CategoryCheck",
    "CategoryCount",
    "Certificate",
    "ChangedExchange",
    "Chat",
    "ChatRow",
    "Checkpoint",
    "ComparedRule",
    "ComparedSide",
    "Comparison",
    "ControlChange",
    "ControlScore",
    "CurvePoint",
    "DoseCurve",
    "DosePoint",
    "DoublingDose",
    "Estimand",
    "EvalReport",
    "EvidenceNote",
    "Exchange",
    "FileEntry",
    "Fingerprint",
    "FingerprintTrial",
    "FoundTrigger",
    "HairTrigger",
    "HuntOutcome",
    "HuntReport",
    "HuntStep",
    "Hyperparameters",
    "ImportedOutcome",
    "ImportedResults",
    "ImportedSuite",
    "JudgeNote",
    "Manifest",
    "Message",
    "Moment",
    "Order",
    "OrderNote",
    "Outcome",
    "Part",
    "PreferenceRow",
    "Prompt",
    "Record",
    "RowFinding",
    "RowVerdict",
    "RuleResult",
    "Sample",
    "ScreenReport",
    "Slice",
    "StandingOrders",
    "State",
    "StatusEntry",
    "StatusList",
    "StressCell",
    "StressOutcome",
    "StressRates",
    "StressReadings",
    "StressReport",
    "StressTrial",
    "Suite",
    "SwitchPhrase",
    "Tool",
    "TriggerBehaviour",
    "TriggerExample",
    "TriggerSearch",
    "TriggerTried",
    "TriggerVariant",
    "TuneReport",
    "UnreadEntry",
    "Verdict",
    "VerifiedCertificate",
    "WatchOutcome",
    "WatchReport",
    "WorstFamily",
    "chat",
    "chat_form",
    "now",
    "parse_json",
    "row_of",
    "split_reply",
]
