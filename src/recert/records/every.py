"""Every kind of record, for whatever goes through them all: schemas, the reference, property tests."""

from __future__ import annotations

from recert.records.data.manifest import Manifest
from recert.records.data.suite import Suite
from recert.records.live.audit import AuditCheckpoint
from recert.records.live.backtest import BacktestReport
from recert.records.live.console import ConsoleAct
from recert.records.live.exchange import Exchange
from recert.records.live.exchange_drift import ExchangeDrift
from recert.records.live.input_drift import InputDrift
from recert.records.live.orders import OrderNote, StandingOrders
from recert.records.live.progress import RunProgress
from recert.records.live.watching import HistoryStart, WatchedRun, WatchReport
from recert.records.record import Record
from recert.records.reports.attack import Conversation
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.comparison import Comparison
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.grader import GraderReport
from recert.records.reports.hunting import HuntReport
from recert.records.reports.imported import ImportedResults
from recert.records.reports.labels import Labels
from recert.records.reports.qualification import Qualification
from recert.records.reports.row_decision import RowDecision
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import StressReport, StressTrial
from recert.records.reports.tuning import TuneReport
from recert.records.signed.attempt_entries import AttemptBegun, AttemptEnded, SuiteRotated
from recert.records.signed.attestation import Attestation
from recert.records.signed.bundle import EvidenceBundle
from recert.records.signed.certificate import Certificate, StatusList
from recert.records.signed.fingerprint import Fingerprint
from recert.records.signed.hosted_job import ConnectedTune, HostedJob
from recert.records.signed.issued import IssuerMemory
from recert.records.signed.model_signature import ModelSignature
from recert.records.signed.policy_diff import PolicyDiff
from recert.records.signed.refusal import Refusal, Withdrawal
from recert.records.signed.signoff import SignoffSheet
from recert.records.signed.transparency import ConsistencyProof, LogEntry, LogProof, VerifierMemory
from recert.records.signed.trust_root import TrustRoot

RECORDS: tuple[type[Record], ...] = (
    Manifest,
    Suite,
    Qualification,
    ScreenReport,
    RowDecision,
    TuneReport,
    EvalReport,
    Labels,
    Certificate,
    StatusList,
    Refusal,
    Withdrawal,
    SignoffSheet,
    Exchange,
    StandingOrders,
    OrderNote,
    AuditCheckpoint,
    ConsoleAct,
    RunProgress,
    WatchReport,
    HistoryStart,
    WatchedRun,
    ExchangeDrift,
    InputDrift,
    ImportedResults,
    Comparison,
    Attestation,
    Fingerprint,
    BacktestReport,
    HuntReport,
    AttackReport,
    Conversation,
    StressTrial,
    StressReport,
    GraderReport,
    EvidenceBundle,
    ModelSignature,
    PolicyDiff,
    LogEntry,
    AttemptBegun,
    AttemptEnded,
    SuiteRotated,
    LogProof,
    ConsistencyProof,
    VerifierMemory,
    TrustRoot,
    IssuerMemory,
    HostedJob,
    ConnectedTune,
)
"""Every kind of record, for the schemas and the property tests."""
