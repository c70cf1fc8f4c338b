//! What comes into `update`, and what comes out of it.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::keymap::Key;
use super::super::state::playbook::For;
use super::super::state::{Facts, ViewRow};
use super::super::words::Said;
use crate::desk::Detail;
use crate::desk::Offered;
use crate::desk::Platform;
use crate::desk::StepOffer;
use crate::desk::case::CaseView;
use crate::desk::playbook_draft::DraftPage;
use crate::desk::playbook_draft::Drafted;
use crate::model::act::{Act, ActReport};
use crate::model::action::{Draft, Finding, Request, Tried};
use crate::model::alert::{AlertRow, Disposition};
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, CaseId, PersonId, RequestId, SuppressionId};
use crate::model::opinion::{Answered, Exchange, Review, TriageStats};
use crate::model::playbook::Playbook;
use crate::model::playbook_draft::PlaybookDraft;
use crate::model::playbook_run::{Deadline, Event, Run};
use crate::model::query::{Count, Page, Query, QueryError, SortKey};
use crate::model::verdict::{Verdict, VerdictKind};
use crate::text::Untrusted;

/// What happened.
#[derive(Debug)]
pub enum Msg {
    Key(Key),
    Paste(String),
    Wheel {
        up: bool,
    },
    Click {
        x: u16,
        y: u16,
    },
    Resize(u16, u16),
    /// Time passed: a clock on screen, or a wait that was asked for.
    Tick,
    /// Back from the shell.
    Resumed,
    // --- from the desk -----------------------------------------------------------------------
    Changed {
        alerts: Vec<AlertId>,
        overflow: bool,
        others: bool,
    },
    Facts(Facts),
    /// A new reading of the platform's health.
    Platform(Arc<Platform>),
    /// The store stopped answering, or answers again.
    Link(Result<(), Said>),
    Parsed {
        text: String,
        apply: bool,
        result: Result<Query, QueryError>,
    },
    Rows {
        generation: u64,
        page: Page,
        limit: usize,
        result: Result<(Vec<AlertRow>, u64), Said>,
    },
    Refreshed(Result<Vec<AlertRow>, Said>),
    Counted {
        generation: u64,
        cursor: Option<AlertId>,
        result: Result<(Count, Option<Count>), Said>,
    },
    Detail {
        id: AlertId,
        result: Result<Option<Box<Detail>>, Said>,
    },
    Raw {
        id: AlertId,
        result: Result<Option<Arc<Vec<u8>>>, Said>,
    },
    AllIds {
        generation: u64,
        result: Result<(Vec<AlertId>, bool), Said>,
    },
    Acted {
        act: Act,
        result: Result<ActReport, Said>,
    },
    Undone(Result<(String, ActReport), Said>),
    Cases(Result<Vec<Case>, Said>),
    Requests(Result<Vec<Request>, Said>),
    Views(Result<Vec<ViewRow>, Said>),
    Suppressions(Result<Vec<Suppression>, Said>),
    Preview {
        query: String,
        result: Result<(Count, Vec<AlertRow>), Said>,
    },
    /// A small write was done, or refused.
    Done(Result<Said, Said>),
    Proposed(Result<Box<Request>, Said>),
    /// Kept as a draft, new or changed; `run`: of the step it was kept from.
    Kept {
        run: Option<String>,
        result: Result<Box<Request>, Said>,
    },
    /// What a draft would become.
    Tried {
        draft: Draft,
        result: Result<Box<Tried>, Said>,
    },
    /// What the policy would say to an approval now.
    Standing {
        id: RequestId,
        result: Option<Result<Vec<Finding>, Said>>,
        ladder: Vec<crate::model::course::Rung>,
    },
    /// Approved, denied, withdrawn or executed.
    Decided {
        what: &'static str,
        result: Result<Box<Request>, Said>,
    },
    /// A piece of an opinion, or of an answer to a question.
    Progress {
        id: AlertId,
        question: bool,
        text: Untrusted,
    },
    Judged {
        id: AlertId,
        result: Result<Box<Verdict>, Said>,
    },
    Answered {
        id: AlertId,
        result: Result<Box<Answered>, Said>,
    },
    Reviewed {
        id: AlertId,
        result: Result<Review, Said>,
    },
    /// How many were put into the triage queue, and whether more matched.
    Queued(Result<(usize, bool), Said>),
    Unqueued(Result<usize, Said>),
    Stats(Result<Box<TriageStats>, Said>),
    Exchanges {
        id: AlertId,
        result: Result<Vec<Exchange>, Said>,
    },
    /// A second passed, as was asked for.
    Beat,
    Copied(Result<(), Said>),
    Runs(Result<Vec<Run>, Said>),
    /// A run, the version of the playbook it goes by, and its deadlines.
    RunOf {
        id: String,
        result: Result<Box<(Run, Playbook, Vec<Deadline>)>, Said>,
    },
    Offered {
        of: For,
        result: Result<Vec<Offered>, Said>,
    },
    Started(Result<Box<Run>, Said>),
    /// What came of asking the model for a draft.
    Drafted {
        of: For,
        result: Result<Box<Drafted>, Said>,
    },
    /// Drafts that wait, each with how much stands in its way.
    Drafts(Result<Vec<(PlaybookDraft, usize)>, Said>),
    DraftOf(Result<Box<DraftPage>, Said>),
    /// Approved, rejected or changed.
    DraftDecided {
        what: &'static str,
        result: Result<Box<DraftPage>, Said>,
    },
    /// What a step can propose.
    StepOffered(Result<Box<StepOffer>, Said>),
    /// A step's action was proposed, or refused.
    StepProposed {
        run: String,
        result: Result<Box<Request>, Said>,
    },
    /// A case; `close`: it was asked for to be closed.
    CaseOf {
        id: CaseId,
        close: bool,
        result: Result<Box<CaseView>, Said>,
    },
    /// A case was closed or opened, or not.
    CaseDone {
        what: &'static str,
        result: Result<Box<CaseView>, Said>,
    },
    /// Something happened to a run, or was refused.
    Stepped {
        run: String,
        result: Result<Said, Said>,
    },
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Parse {
        text: String,
        apply: bool,
    },
    Rows {
        generation: u64,
        query: Query,
        sort: SortKey,
        page: Page,
        limit: usize,
    },
    Refresh(Vec<AlertId>),
    Count {
        generation: u64,
        query: Query,
        sort: SortKey,
        cursor: Option<AlertId>,
    },
    Detail(AlertId),
    Raw(AlertId),
    AllIds {
        generation: u64,
        query: Query,
        sort: SortKey,
    },
    Act {
        by: PersonId,
        act: Act,
        ids: Vec<AlertId>,
    },
    Undo {
        by: PersonId,
    },
    Cases,
    Requests,
    Views,
    PutView(SavedView),
    DropView(String),
    Suppressions,
    PreviewSuppression(String),
    AddSuppression {
        by: PersonId,
        query: String,
        reason: Untrusted,
        expires: Timestamp,
    },
    EndSuppression {
        by: PersonId,
        id: SuppressionId,
    },
    Propose {
        by: PersonId,
        draft: Draft,
        /// What belongs to it, filed after it, in this order.
        then: Vec<Draft>,
    },
    /// Keeps drafts that are asked of nobody yet; `step`: the run and the step they are from.
    KeepDraft {
        by: PersonId,
        draft: Draft,
        then: Vec<Draft>,
        step: Option<(String, u32)>,
    },
    /// New contents of one's own request; what waits is taken back into a draft.
    EditRequest {
        by: PersonId,
        id: RequestId,
        draft: Draft,
    },
    /// A draft is asked of others.
    SubmitRequest {
        by: PersonId,
        id: RequestId,
    },
    /// Finds out what a draft would become; files nothing.
    TryOut {
        by: PersonId,
        draft: Draft,
    },
    /// Asks who will be told while it waits and, to `judge`, what the policy would say to an approval now.
    Standing {
        by: PersonId,
        request: Box<Request>,
        judge: bool,
    },
    /// A question about a request, or the answer to one.
    Talk {
        by: PersonId,
        id: RequestId,
        answer: bool,
        text: Untrusted,
    },
    BreakGlass {
        by: PersonId,
        id: RequestId,
        digest: String,
        reason: Untrusted,
    },
    GlassReview {
        by: PersonId,
        id: RequestId,
        justified: bool,
        text: Untrusted,
    },
    Approve {
        by: PersonId,
        id: RequestId,
        digest: String,
    },
    /// Approves although the error budgets say no.
    ApproveOverBudget {
        by: PersonId,
        id: RequestId,
        digest: String,
        reason: Untrusted,
    },
    Deny {
        by: PersonId,
        id: RequestId,
        reason: Untrusted,
    },
    Withdraw {
        by: PersonId,
        id: RequestId,
    },
    /// A request that asks for its failed targets again, or takes back what it did.
    Follow {
        by: PersonId,
        id: RequestId,
        undo: bool,
    },
    Execute {
        by: PersonId,
        id: RequestId,
    },
    KillSwitch {
        by: PersonId,
        on: bool,
    },
    Triage {
        by: PersonId,
        id: AlertId,
        backend: Option<&'static str>,
    },
    Ask {
        by: PersonId,
        id: AlertId,
        text: Untrusted,
        before: Vec<(Untrusted, Untrusted)>,
    },
    CancelRun {
        id: AlertId,
        question: bool,
    },
    Review {
        by: PersonId,
        id: AlertId,
        request: String,
        kind: VerdictKind,
        reason: Untrusted,
    },
    Enqueue {
        by: PersonId,
        ids: Vec<AlertId>,
    },
    EnqueueMatching {
        by: PersonId,
        query: Query,
        sort: SortKey,
    },
    CancelQueue {
        by: PersonId,
    },
    TriageStats,
    Exchanges(AlertId),
    /// The runs of playbooks this person may see.
    Runs,
    RunOf(String),
    /// Which playbooks can be started, and why.
    Offer(For),
    StartPlaybook {
        by: PersonId,
        key: String,
        of: For,
        values: Vec<(String, Untrusted)>,
    },
    /// Something happens to a run; `done` is told when it did.
    StepRun {
        by: PersonId,
        run: String,
        event: Box<Event>,
        done: Said,
    },
    /// What a step can propose, with what is known for it.
    StepOffer {
        by: PersonId,
        run: String,
        visit: u32,
    },
    ProposeStep {
        by: PersonId,
        run: String,
        visit: u32,
        draft: Draft,
    },
    /// Writes the run sheet to a new file.
    RunSheet {
        run: String,
        path: String,
    },
    /// A case with all that is in it; `close`: to close it then.
    CaseOf {
        id: CaseId,
        close: bool,
    },
    CloseCase {
        by: PersonId,
        id: CaseId,
        disposition: Disposition,
        summary: Untrusted,
    },
    ReopenCase {
        by: PersonId,
        id: CaseId,
        reason: Untrusted,
    },
    /// A file of this machine becomes evidence of a step.
    Attach {
        by: PersonId,
        run: String,
        visit: u32,
        path: String,
    },
    /// Has the model draft a playbook.
    Draft {
        by: PersonId,
        of: For,
    },
    /// Stops the draft that is being written for it.
    CancelDraft(For),
    Drafts,
    DraftOf(String),
    ApproveDraft {
        by: PersonId,
        id: String,
        hash: String,
    },
    RejectDraft {
        by: PersonId,
        id: String,
        hash: String,
        reason: Untrusted,
    },
    EditDraft {
        by: PersonId,
        id: String,
        hash: String,
        text: String,
    },
    /// Asks the model the question of a step.
    AskStep {
        by: PersonId,
        run: String,
        visit: u32,
    },
    /// Runs the searches of a step.
    QueryStep {
        by: PersonId,
        run: String,
        visit: u32,
    },
    /// A `Beat` after a second.
    Beat,
    /// To the terminal's clipboard; text that is safe to show.
    Copy(Said),
    Suspend,
    /// A `Tick` after so many milliseconds.
    Wait(u64),
}
