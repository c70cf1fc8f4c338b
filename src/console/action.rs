//! The action registry: one row per thing a person can do. The keymaps, `?`, `:`, the footer, the reference and the
//! tests all read it. Adding an action is one row here and one arm in `update`.

use super::health;
use super::state::overlay::Deciding;
use super::state::playbook;
use super::state::{Overlay, State, Tab};
use super::update::{cases, kept, steps};
use super::words::{Said, say};
use crate::model::action::ReceiptState;
use crate::model::action::RequestState;
use crate::model::alert::Status;
use crate::model::person::Role;
use crate::model::playbook_draft::DraftState;
use crate::model::playbook_run::{RunState, VisitState};
use crate::model::rollout::RolloutVerb;

/// Where an action works, and under which name its keys stand in a keymap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Global,
    /// Anything with a cursor or a scroll position.
    List,
    Queue,
    /// The alert under the cursor, the marked ones, or the open one.
    Alert,
    Detail,
    Raw,
    Cases,
    /// Runs of playbooks, and the steps of the open one.
    Playbooks,
    Approvals,
    Views,
    Suppressions,
    Status,
    Triage,
    /// The platform's panes, and tabs of several pages.
    Pane,
    Rollouts,
    Backups,
    /// The screen on which a request is decided.
    Decide,
    /// The screen on which a draft of a playbook is decided about.
    Review,
    /// Forms: text fields and choices.
    Form,
    /// Lists to pick from.
    Picker,
}

impl Scope {
    pub const ALL: [Self; 20] = [
        Self::Global,
        Self::List,
        Self::Queue,
        Self::Alert,
        Self::Detail,
        Self::Raw,
        Self::Cases,
        Self::Playbooks,
        Self::Approvals,
        Self::Views,
        Self::Suppressions,
        Self::Status,
        Self::Triage,
        Self::Pane,
        Self::Rollouts,
        Self::Backups,
        Self::Decide,
        Self::Review,
        Self::Form,
        Self::Picker,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::List => "list",
            Self::Queue => "queue",
            Self::Alert => "alert",
            Self::Detail => "detail",
            Self::Raw => "raw",
            Self::Cases => "cases",
            Self::Playbooks => "playbooks",
            Self::Approvals => "approvals",
            Self::Views => "views",
            Self::Suppressions => "suppressions",
            Self::Status => "status",
            Self::Triage => "triage",
            Self::Pane => "pane",
            Self::Rollouts => "rollouts",
            Self::Backups => "backups",
            Self::Decide => "decide",
            Self::Review => "review",
            Self::Form => "form",
            Self::Picker => "picker",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Global => "Everywhere",
            Self::List => "Moving",
            Self::Queue => "Queue",
            Self::Alert => "Alerts",
            Self::Detail => "Alert in full",
            Self::Raw => "Raw bytes",
            Self::Cases => "Cases",
            Self::Playbooks => "Playbooks",
            Self::Approvals => "Approvals",
            Self::Views => "Saved views",
            Self::Suppressions => "Suppressions",
            Self::Status => "Status",
            Self::Triage => "Triage page",
            Self::Pane => "Pages and platform panes",
            Self::Rollouts => "Rollouts",
            Self::Backups => "Backups",
            Self::Decide => "Deciding",
            Self::Review => "Reviewing a draft",
            Self::Form => "Forms",
            Self::Picker => "Picking",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|x| x.word() == s)
    }
}

/// How much harm an action can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Looks only.
    Reads,
    /// Changes the desk, with an undo or an end. Gone in read-only mode.
    Changes,
    /// Leads to something outside the desk. Gone in read-only mode.
    Acts,
}

impl Danger {
    pub fn word(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Changes => "changes",
            Self::Acts => "acts",
        }
    }
}

/// One row of the registry.
pub struct Action {
    pub id: Do,
    pub word: &'static str,
    pub title: &'static str,
    pub help: &'static str,
    pub scope: Scope,
    pub danger: Danger,
    enabled: fn(&State) -> Result<(), Said>,
}

macro_rules! actions {
    ($( $id:ident $word:literal $scope:ident $danger:ident $enabled:ident $title:literal $help:literal; )*) => {
        /// Everything a person can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Do { $( $id, )* }

        impl Do {
            pub const ALL: &'static [Do] = &[ $( Do::$id, )* ];
        }

        pub const ACTIONS: &[Action] = &[ $( Action {
            id: Do::$id, word: $word, title: $title, help: $help,
            scope: Scope::$scope, danger: Danger::$danger, enabled: $enabled,
        }, )* ];
    };
}

actions! {
    Quit "quit" Global Reads always "quit" "Leave the console; the desk's work is stored.";
    Help "help" Global Reads always "help" "Every key that works here, and what it does.";
    Palette "palette" Global Reads always "commands" "Any command by its name.";
    Back "back" Global Reads always "back" "One step back: close what is open, clear marks, then the filter.";
    Suspend "suspend" Global Reads always "suspend" "Give the terminal back to the shell; fg returns.";
    Repaint "repaint" Global Reads always "repaint" "Draw the whole screen anew.";
    Refresh "refresh" Global Reads always "refresh" "Load this pane anew, in its present order.";
    Pause "pause" Global Reads always "pause" "Stop or go on with live updates of the queue.";
    TabQueue "tab-queue" Global Reads always "queue" "Go to the alert queue.";
    TabCases "tab-cases" Global Reads always "cases" "Go to the cases; there: the playbooks at work.";
    TabPlaybooks "tab-playbooks" Global Reads always "playbooks" "Go to the playbooks at work.";
    TabApprovals "tab-approvals" Global Reads always "approvals" "Go to the requests to approve or run.";
    TabSlo "tab-slo" Global Reads always "objectives" "Go to the objectives and their error budgets; there: the next page.";
    TabSla "tab-sla" Global Reads always "agreements" "Go to the uptime promised and kept this month.";
    TabChecklists "tab-checklists" Global Reads always "checklists" "Go to the checklists.";
    TabRollouts "tab-rollouts" Global Reads always "rollouts" "Go to what clusters are changing, and the gates.";
    TabBackups "tab-backups" Global Reads always "backups" "Go to what can be restored, and how well that is proven.";
    TabTriage "tab-triage" Global Reads always "triage" "Go to how triage is doing: speed, quality, servers, queue.";
    TabStatus "tab-status" Global Reads always "status" "Go to sources, backends and switches.";
    TabLists "tab-lists" Global Reads always "lists" "Go to the saved views; there: the suppressions.";
    TabViews "tab-views" Global Reads always "views" "Go to the saved views.";
    TabSuppressions "tab-suppressions" Global Reads always "suppressions" "Go to the suppressions.";
    NextTab "next-tab" Global Reads always "next tab" "The tab to the right.";
    PreviousTab "previous-tab" Global Reads always "previous tab" "The tab to the left.";
    Undo "undo" Global Changes writing "undo" "Take back your newest act that nobody has changed since.";
    Theme "theme" Global Reads always "theme" "Pick the colours of this session.";
    Columns "columns" Global Reads always "columns" "Choose the queue's columns and their order.";
    SwitchPerson "switch-person" Global Reads can_switch "switch person" "Demo only: act as somebody else.";
    CancelQueue "cancel-triage-queue" Global Changes queue_works "stop queue" "Take everything out of the triage queue that has not begun.";
    KillSwitch "kill-switch" Global Acts writing "kill switch" "Stop all execution of actions, or allow it again.";
    Redraw "which-keys" Global Reads always "keys" "Show what the keys do here.";

    Up "up" List Reads always "up" "One line up.";
    Down "down" List Reads always "down" "One line down.";
    PageUp "page-up" List Reads always "previous page" "One page up.";
    PageDown "page-down" List Reads always "next page" "One page down.";
    Top "top" List Reads always "top" "To the first line; in the queue this follows new alerts.";
    Bottom "bottom" List Reads always "bottom" "To the last line.";
    Open "open" List Reads can_open "open" "Open what is under the cursor.";

    Filter "filter" Queue Reads always "filter" "Show only what matches, such as sev>=high host:web-* not status:closed.";
    ClearFilter "clear-filter" Queue Reads always "clear filter" "Back to the filter the console started with.";
    Sort "sort" Queue Reads always "sort" "Order by risk, newest, oldest or severity.";
    Mark "mark" Queue Reads has_cursor "mark" "Mark or unmark, and go on to the next line.";
    MarkAll "mark-all" Queue Reads always "mark all" "Mark all that match the filter, up to 1000.";
    ClearMarks "clear-marks" Queue Reads has_marks "clear marks" "Unmark everything.";
    PickView "pick-view" Queue Reads always "view" "Switch to a saved view.";
    SaveView "save-view" Queue Changes writing "save view" "Keep this filter and order under a name.";
    TriageFilter "triage-all" Queue Changes writing "triage all" "Put all that match the filter into the triage queue, up to 1000.";
    Next "next" Queue Reads always "next alert" "The next alert, also from inside an open one.";
    Previous "previous" Queue Reads always "previous alert" "The alert before, also from inside an open one.";

    Claim "claim" Alert Changes on_alert "claim" "Take it. If somebody has it already you are told who.";
    Release "release" Alert Changes on_alert "release" "Give it back to the queue.";
    Assign "assign" Alert Changes on_alert "assign" "Give it to somebody, whoever has it now.";
    Close "close" Alert Changes on_alert "close" "Disposition, reason and comment in one act.";
    Reopen "reopen" Alert Changes on_closed "reopen" "Put a closed alert back into the queue.";
    Snooze "snooze" Alert Changes on_alert "snooze" "Hide it until a time.";
    Wake "wake" Alert Changes on_alert "wake" "End a snooze now.";
    Note "note" Alert Changes on_alert "note" "Write a note on its timeline.";
    Prioritise "prioritise" Alert Changes on_alert "priority" "Set the priority, with a reason.";
    Merge "merge" Alert Changes on_alert "into case" "Put it into a case, old or new.";
    Detach "detach" Alert Changes on_alert "out of case" "Take it out of its case.";
    Triage "triage" Alert Changes on_alert "triage" "Ask the backend for an opinion; marked alerts go into the triage queue. It can only raise the priority.";
    TriageRules "triage-rules" Alert Changes on_alert "triage by rules" "The same, without a model.";
    CancelTriage "cancel-triage" Alert Reads triage_runs "stop triage" "Stop the opinion or answer that is being formed; with none, a draft that is being written, then the triage queue.";
    Ask "ask" Alert Changes on_alert_reading "ask" "Ask the model a question about the alert. Its answer is checked like an opinion.";
    Accept "accept" Alert Changes has_opinion "agree" "Agree with the opinion. It closes nothing.";
    Disagree "override" Alert Changes has_opinion "disagree" "Say what it is instead, with a reason. It closes nothing.";
    Propose "propose" Alert Acts can_propose "propose" "Propose a response action on its host, user or address.";
    Draft "draft" Alert Changes on_one_alert "draft playbook" "Have the model draft a playbook for this alert. It is checked, marked GENERATED, and waits for a review.";
    Playbook "playbook" Alert Changes on_one_alert "playbook" "Playbooks that fit this alert, and why; enter starts one.";
    Suppress "suppress" Alert Changes on_alert "suppress" "Hide alerts like it for a while, in your name.";
    Pivot "pivot" Alert Reads on_alert_reading "alike" "Filter by its rule, host, user, address, group or case.";
    Explain "explain-risk" Alert Reads on_alert_reading "risk" "Why it stands where it stands.";
    Raw "raw" Alert Reads on_alert_reading "raw" "The bytes as they came.";
    Hex "hex" Alert Reads on_alert_reading "hex" "The bytes as they came, in hex.";
    Exchanges "exchanges" Alert Reads on_alert_reading "prompts" "What models were told about it and what they answered, word for word.";
    CopyId "copy-id" Alert Reads on_alert_reading "copy id" "Send the alert's number to the terminal's clipboard.";
    CopyValue "copy-value" Alert Reads on_alert_reading "copy value" "Pick a value of the alert and send it, defanged, to the clipboard.";

    ScrollDown "scroll-down" Alert Reads on_alert_reading "scroll" "Half a page down in the alert's text, also beside the list.";
    ScrollUp "scroll-up" Alert Reads on_alert_reading "scroll back" "Half a page up in the alert's text.";
    NextSection "next-section" Alert Reads on_alert_reading "next section" "Jump to the next heading of the alert.";
    PreviousSection "previous-section" Alert Reads on_alert_reading "previous section" "Jump to the heading before.";
    Evidence "evidence" Alert Reads has_claims "evidence" "Show where the claim's quote stands in the record; again: the next claim's.";
    EvidenceBefore "evidence-before" Alert Reads has_claims "evidence before" "The same for the claim before.";
    NextClaim "next-claim" Alert Reads has_claims "next claim" "To the next claim of the opinion and the answers.";
    PreviousClaim "previous-claim" Alert Reads has_claims "previous claim" "To the claim before.";
    ToOpinion "to-opinion" Detail Reads on_alert_reading "opinion" "Jump to the opinion, and from there back to the facts.";
    Fields "fields" Raw Reads always "fields" "The record's fields, one after the other.";
    Related "related" Alert Reads on_alert_reading "related" "Open one of the related alerts.";

    RolloutPropose "rollout-propose" Rollouts Acts on_rollout "propose" "Propose what fits this rollout now: promote, pause, retry, undo, scale. The exact patch and the cluster's dry run are shown first.";
    RolloutAbort "rollout-abort" Rollouts Acts can_abort "ABORT" "Ask at once for this rollout to go back to its stable revision. It is confirmed as its tier demands.";
    RolloutRequest "rollout-request" Rollouts Reads has_rollout_request "its request" "Open the newest open request about this rollout: to read, approve or run it.";
    BackupPropose "backup-propose" Backups Acts can_back_up "propose" "Propose a backup of this asset, a restore or a drill.";
    BackupEvidence "backup-evidence" Backups Reads on_asset "evidence" "What proves the backups of this asset: drills, restores, verified contents.";

    CaseDraft "case-draft" Cases Changes on_case "draft playbook" "Have the model draft a playbook for this case. It is checked, marked GENERATED, and waits for a review.";
    CasePlaybook "case-playbook" Cases Changes on_case "playbook" "Playbooks that fit the alerts of this case, and why; enter starts one.";
    CaseAlerts "case-alerts" Cases Reads on_case "its alerts" "The alerts of this case, in the queue.";
    CaseRun "case-run" Cases Reads has_run "its playbook" "Open the playbook at work in this case, or the last one.";
    CloseCase "close-case" Cases Changes on_open_case "close case" "Close the case and its alerts, with what came of it; the summary is drawn from its playbooks.";
    ReopenCase "reopen-case" Cases Changes on_closed_case "reopen" "Open a closed case again, with a reason.";
    StepDone "step-done" Playbooks Changes on_step "done" "This step is done; what it gives is asked for.";
    StepFailed "step-failed" Playbooks Changes on_step "failed" "This step failed, with a reason; of a held step: give it up.";
    StepSkip "step-skip" Playbooks Changes on_step "skip" "Go past this step, with a reason.";
    StepNote "step-note" Playbooks Changes on_visit "note" "Write a note on this step.";
    StepTake "step-take" Playbooks Changes on_step "take" "Begin this step in your name, or take it over from who has it.";
    StepAssign "step-assign" Playbooks Changes on_step "assign" "Give this step, and what follows on its branch, to somebody.";
    StepSign "step-sign" Playbooks Changes wants_signature "sign" "Put your name to this step, in a role it asks for.";
    StepDecide "step-decide" Playbooks Changes undecided "decide" "Say which way it goes, where nobody knows what the condition asks for.";
    StepRetry "step-retry" Playbooks Changes held "try again" "Work a step again that failed and is held.";
    StepAttach "step-attach" Playbooks Changes on_visit "evidence" "Keep a file of this machine as evidence of this step.";
    StepPropose "step-propose" Playbooks Acts can_step_propose "propose" "Propose this step's action: a request that others approve, with what is known filled in.";
    StepRequest "step-request" Playbooks Reads has_step_request "its request" "Open the request that was proposed from this step: to read, approve or run it.";
    RunSheet "run-sheet" Playbooks Reads on_run "run sheet" "Write this playbook with what was done as a Markdown file, to print or to hand on.";
    Deadlines "deadlines" Playbooks Changes has_deadlines "deadlines" "Who has to hear of this breach by when: say that they were told or need not be, or from when it counts.";
    RunCase "run-case" Playbooks Reads has_case "its case" "Open the case this playbook is worked in: alerts, evidence, requests.";
    CancelPlaybook "cancel-playbook" Playbooks Changes on_running "cancel" "Give this playbook up as a whole, with a reason.";
    StepAsk "step-ask" Playbooks Changes asks_model "ask model" "Ask the model the question this step carries; its answer is kept with the step as advice and decides nothing.";
    CancelDraft "cancel-draft" Global Reads drafts_written "stop draft" "Stop the playbook draft the model is writing.";
    StepQuery "step-query" Playbooks Changes searches "search" "Run the search this step carries, in the indices the settings let; what comes back is kept as its evidence.";
    Drafts "drafts" Global Reads always "drafts" "Playbooks the model drafted that wait for a review.";
    StepDown "step-text-down" Playbooks Reads on_run "scroll" "Half a page down in the text of the step.";
    StepUp "step-text-up" Playbooks Reads on_run "scroll back" "Half a page up in the text of the step.";

    Execute "execute" Approvals Acts can_execute "run" "Run an approved request, once.";
    Deny "deny" Decide Acts can_decide "deny" "Refuse the request, with a reason.";
    OverBudget "over-budget" Decide Acts can_set_aside "over budget" "For a commander: sign although an error budget is closed, with a reason that is recorded.";
    AskBack "ask-back" Decide Acts can_talk "ask back" "Ask the requester something, or answer what was asked; the clock goes on.";
    BreakGlass "break-glass" Decide Acts can_break_glass "break glass" "In an emergency: let it run on your word alone. Everybody is told, and somebody else reviews it.";
    GlassReview "review-glass" Approvals Acts can_review "review" "Say whether it was right that one person ran this alone.";
    Withdraw "withdraw" Decide Acts can_withdraw "withdraw" "Take your own request back.";
    EditRequest "edit-request" Decide Changes can_edit "edit" "Change your own request. One that waits or is approved is taken back into a draft: its approvals are void.";
    SubmitRequest "submit-request" Decide Acts can_submit "submit" "Ask others for what your draft says: policy and dry run first; then it waits for approval.";
    RetryFailed "retry-failed" Decide Acts can_retry "ask again" "Ask again for the targets where it failed or never began: a new request that names this one.";
    UndoRequest "undo-request" Decide Acts can_take_back "take back" "Ask for what undoes it, where it was done: a new request that names this one.";
    Reread "reread" Decide Reads has_changed "read anew" "Show the request as it is now, after it changed.";
    TypeName "type-name" Decide Reads asks_for_name "type" "Begin typing what is asked for.";

    ApproveDraft "approve-draft" Review Changes may_approve_draft "approve" "Let the draft into the library, as you read it here.";
    EditDraft "edit-draft" Review Changes draft_open "edit" "Change the draft; it is checked again and stays marked.";
    RejectDraft "reject-draft" Review Changes draft_open "reject" "End the draft, with a reason.";

    NextPage "next-page" Pane Reads has_pages "next page" "The next page of this tab.";
    PreviousPage "previous-page" Pane Reads has_pages "page before" "The page of this tab before.";
    DetailDown "detail-down" Pane Reads on_platform "scroll detail" "Half a page down in the detail, also beside the list.";
    DetailUp "detail-up" Pane Reads on_platform "scroll detail back" "Half a page up in the detail.";
    NextItem "next-item" Pane Reads on_platform "next" "The next line of the list, also from inside the detail.";
    PreviousItem "previous-item" Pane Reads on_platform "previous" "The line before, also from inside the detail.";

    DropView "drop-view" Views Changes writing "drop view" "Delete the saved view.";
    AddSuppression "add-suppression" Suppressions Changes writing "suppress" "Hide what a query matches, with owner, reason and expiry.";
    EndSuppression "end-suppression" Suppressions Changes writing "end" "End it now and give back what it hides.";

    FormNext "form-next" Form Reads always "next field" "To the next field.";
    FormPrevious "form-previous" Form Reads always "previous field" "To the field before.";
    FormSubmit "form-submit" Form Reads always "submit" "Send the whole form.";
    FormKeep "form-keep" Form Changes can_keep "keep as draft" "Keep the proposal as a draft of yours: nobody is asked until you submit it.";
    FormEnter "form-enter" Form Reads always "go on" "To the next field; on the last one, send the form.";
    FormNewline "form-newline" Form Reads always "new line" "A new line in a field of several lines.";
    FormOlder "form-older" Form Reads always "older" "An older entry of this field, or the choice before.";
    FormNewer "form-newer" Form Reads always "newer" "A newer entry of this field, or the next choice.";
    PickUp "pick-up" Picker Reads always "up" "One line up.";
    PickDown "pick-down" Picker Reads always "down" "One line down.";
    PickTake "pick-take" Picker Reads always "take" "Take what is under the cursor.";
}

impl Do {
    pub fn action(self) -> &'static Action {
        // The table is made by the same macro, in the same order.
        &ACTIONS[self as usize]
    }

    pub fn word(self) -> &'static str {
        self.action().word
    }

    pub fn title(self) -> &'static str {
        self.action().title
    }

    pub fn parse(word: &str) -> Option<Self> {
        ACTIONS.iter().find(|a| a.word == word).map(|a| a.id)
    }

    /// Whether it can be done now, or why not.
    pub fn enabled(self, state: &State) -> Result<(), Said> {
        let action = self.action();
        if action.danger > Danger::Reads {
            if state.read_only {
                return Err(say!("this console is read-only"));
            }
            match &state.me {
                None => return Err(say!("the roster does not know you: reading only")),
                Some(p) if p.read_only() => return Err(say!("your role (", p.main_role(), ") is reading only")),
                Some(_) => {}
            }
        }
        (action.enabled)(state)
    }
}

fn always(_: &State) -> Result<(), Said> {
    Ok(())
}

/// Lists that begin empty say so instead of offering to open nothing.
fn can_open(s: &State) -> Result<(), Said> {
    let nothing = match s.tab {
        _ if s.full || !s.overlays.is_empty() => false,
        Tab::Queue => s.alert_in_hand().is_none(),
        Tab::Cases => s.cases.rows.is_empty(),
        Tab::Playbooks => s.playbook.runs.rows.is_empty(),
        Tab::Approvals => s.requests.rows.is_empty(),
        _ => false,
    };
    if nothing { Err(say!("there is nothing to open")) } else { Ok(()) }
}

/// The danger tier has already asked for a person who may write.
fn writing(_: &State) -> Result<(), Said> {
    Ok(())
}

fn can_switch(s: &State) -> Result<(), Said> {
    if s.switchable.is_empty() { Err(say!("only a demo desk has people to switch between")) } else { Ok(()) }
}

fn on_alert_reading(s: &State) -> Result<(), Said> {
    match s.alert_in_hand() {
        Some(_) => Ok(()),
        None => Err(say!("no alert is under the cursor")),
    }
}

fn on_alert(s: &State) -> Result<(), Said> {
    if s.alerts_in_hand().is_empty() { Err(say!("no alert is under the cursor")) } else { Ok(()) }
}

fn on_one_alert(s: &State) -> Result<(), Said> {
    match s.alerts_in_hand().as_slice() {
        [] => Err(say!("no alert is under the cursor")),
        [_] => Ok(()),
        _ => Err(say!("a playbook is for one alert, or for a case: put them into one")),
    }
}

fn on_case(s: &State) -> Result<(), Said> {
    if s.tab == Tab::Cases && cases::in_hand(s).is_some() { Ok(()) } else { Err(say!("no case is under the cursor")) }
}

/// From its page, from the list, or from a playbook that is over.
fn on_open_case(s: &State) -> Result<(), Said> {
    match cases::in_hand(s) {
        None => Err(say!("no case is in hand")),
        Some(id) if cases::is_closed(s, id) => Err(say!("case #", id, " is closed already")),
        Some(_) => match playbook::run_in_hand(s).map(|r| r.state) {
            Some(RunState::Running) => Err(say!("this playbook is still at work")),
            _ => Ok(()),
        },
    }
}

fn on_closed_case(s: &State) -> Result<(), Said> {
    on_case(s)?;
    match cases::in_hand(s) {
        Some(id) if cases::is_closed(s, id) => Ok(()),
        _ => Err(say!("it is open")),
    }
}

fn has_run(s: &State) -> Result<(), Said> {
    if cases::newest_run(s).is_some() { Ok(()) } else { Err(say!("open a case in which a playbook was worked")) }
}

fn has_deadlines(s: &State) -> Result<(), Said> {
    on_run(s)?;
    match s.playbook.open.as_ref().is_some_and(|p| !p.deadlines.is_empty()) {
        true => Ok(()),
        false => Err(say!("this playbook asks for no time from which deadlines count")),
    }
}

fn has_case(s: &State) -> Result<(), Said> {
    on_run(s)?;
    if cases::in_hand(s).is_some() { Ok(()) } else { Err(say!("this playbook belongs to no case")) }
}

fn can_step_propose(s: &State) -> Result<(), Said> {
    can_propose(s)?;
    on_step(s)?;
    match playbook::step_in_hand(s) {
        Some((_, v, _)) if !matches!(v.state, VisitState::Ready | VisitState::Active | VisitState::Held) => {
            Err(say!("this step is not somebody's work now"))
        }
        _ => Ok(()),
    }
}

fn has_step_request(s: &State) -> Result<(), Said> {
    on_visit(s)?;
    if steps::request_of(s).is_some() { Ok(()) } else { Err(say!("nothing was proposed from this step")) }
}

fn on_run(s: &State) -> Result<(), Said> {
    if playbook::run_in_hand(s).is_some() { Ok(()) } else { Err(say!("open a playbook at work first")) }
}

fn on_running(s: &State) -> Result<(), Said> {
    on_run(s)?;
    match playbook::run_in_hand(s).map(|r| r.state) {
        Some(RunState::Running) | None => Ok(()),
        Some(over) => Err(say!("it is ", over.word(), " already")),
    }
}

fn on_visit(s: &State) -> Result<(), Said> {
    on_run(s)?;
    match playbook::step_in_hand(s) {
        Some(_) => Ok(()),
        None => Err(say!("nobody came to this step yet")),
    }
}

fn on_step(s: &State) -> Result<(), Said> {
    on_visit(s)?;
    on_running(s)?;
    match playbook::step_in_hand(s) {
        Some((_, v, _)) if v.state.over() => Err(say!("this step is ", v.state.word(), " already")),
        _ => Ok(()),
    }
}

fn asks_model(s: &State) -> Result<(), Said> {
    on_visit(s)?;
    match playbook::step_in_hand(s) {
        Some((_, _, step)) if step.prompt.is_none() => Err(say!("this step asks the model nothing")),
        _ => Ok(()),
    }
}

fn searches(s: &State) -> Result<(), Said> {
    on_visit(s)?;
    match (playbook::step_in_hand(s), &s.no_search) {
        (Some((_, _, step)), _) if !step.searches() => Err(say!("this step searches nothing")),
        (_, Some(why)) => Err(why.clone()),
        _ => Ok(()),
    }
}

fn draft_open(s: &State) -> Result<(), Said> {
    match s.overlays.last() {
        Some(Overlay::Review(r)) if r.page.draft.state == DraftState::Open => Ok(()),
        Some(Overlay::Review(r)) => Err(say!("it is ", r.page.draft.state.word(), " already")),
        _ => Err(say!("open a draft first")),
    }
}

fn may_approve_draft(s: &State) -> Result<(), Said> {
    draft_open(s)?;
    let mine = [Role::Lead, Role::Commander, Role::Approver];
    if !s.me.as_ref().is_some_and(|p| mine.iter().any(|r| p.has(*r))) {
        return Err(say!("a lead, a commander or an approver approves it"));
    }
    match (s.overlays.last(), s.my_id()) {
        (Some(Overlay::Review(r)), Some(me)) if r.page.not_by(me).is_some() => {
            Err(Said::of(&r.page.not_by(me).unwrap_or_default()))
        }
        (Some(Overlay::Review(r)), _) if r.page.blocking() > 0 => {
            Err(say!(r.page.blocking(), " findings stand in the way: edit it first"))
        }
        _ => Ok(()),
    }
}

fn wants_signature(s: &State) -> Result<(), Said> {
    on_step(s)?;
    match playbook::step_in_hand(s) {
        Some((_, v, step)) if step.sign_off.iter().all(|r| v.signed.iter().any(|x| x.role == *r)) => {
            Err(say!("this step asks for no signature"))
        }
        _ => Ok(()),
    }
}

fn in_state(s: &State, wanted: VisitState, why: &'static str) -> Result<(), Said> {
    on_step(s)?;
    match playbook::step_in_hand(s) {
        Some((_, v, _)) if v.state == wanted => Ok(()),
        _ => Err(say!(why)),
    }
}

fn undecided(s: &State) -> Result<(), Said> {
    in_state(s, VisitState::Undecided, "this step decides by itself")
}

fn held(s: &State) -> Result<(), Said> {
    in_state(s, VisitState::Held, "only a step that failed and is held is tried again")
}

fn on_closed(s: &State) -> Result<(), Said> {
    let ids = s.alerts_in_hand();
    match ids.as_slice() {
        [] => Err(say!("no alert is under the cursor")),
        [one] if s.status_of(*one).is_some_and(|st| st != Status::Closed) => {
            Err(say!("alert ", *one, " is not closed"))
        }
        _ => Ok(()),
    }
}

fn has_cursor(s: &State) -> Result<(), Said> {
    if s.queue.cursor.is_some() { Ok(()) } else { Err(say!("the list is empty")) }
}

fn has_marks(s: &State) -> Result<(), Said> {
    if s.queue.marks.is_empty() { Err(say!("nothing is marked")) } else { Ok(()) }
}

fn has_claims(s: &State) -> Result<(), Said> {
    let here = s.detail.shown.as_ref().is_some_and(|d| Some(d.alert.id) == s.alert_in_hand());
    if here && !s.detail.opinion.claims.is_empty() { Ok(()) } else { Err(say!("there is no opinion with claims yet")) }
}

fn has_opinion(s: &State) -> Result<(), Said> {
    let d = s.detail.shown.as_ref().filter(|d| Some(d.alert.id) == s.alert_in_hand());
    match d.map(|d| d.verdicts.is_empty()) {
        Some(false) => Ok(()),
        Some(true) => Err(say!("there is no opinion yet")),
        None => Err(say!("the alert is still being loaded")),
    }
}

fn triage_runs(s: &State) -> Result<(), Said> {
    if s.runs.is_empty() && drafts_written(s).is_err() { queue_works(s) } else { Ok(()) }
}

fn drafts_written(s: &State) -> Result<(), Said> {
    match s.drafting.iter().any(|d| !d.stopping) {
        true => Ok(()),
        false => Err(say!("no draft is being written")),
    }
}

fn queue_works(s: &State) -> Result<(), Said> {
    let q = &s.facts.queue;
    if q.waiting + q.running > 0 { Ok(()) } else { Err(say!("no opinion is being formed, none is queued")) }
}

fn can_propose(s: &State) -> Result<(), Said> {
    if s.catalogue.is_empty() { Err(say!("this desk has no action catalogue (respond.catalogue)")) } else { Ok(()) }
}

fn can_execute(s: &State) -> Result<(), Said> {
    match s.request_in_hand() {
        None => Err(say!("no request is under the cursor")),
        Some(r) if r.state != RequestState::Approved => {
            Err(say!("it is ", r.state.word(), ", only an approved request runs"))
        }
        Some(_) if s.facts.kill.is_some() => Err(say!("the kill switch is on")),
        Some(_) => Ok(()),
    }
}

fn can_decide(s: &State) -> Result<(), Said> {
    match s.request_in_hand() {
        None => Err(say!("no request is under the cursor")),
        Some(r) if r.state != RequestState::Pending => Err(say!("it is ", r.state.word(), " already")),
        Some(_) => Ok(()),
    }
}

fn can_talk(s: &State) -> Result<(), Said> {
    match (s.request_in_hand(), &s.me) {
        (None, _) => Err(say!("no request is under the cursor")),
        (Some(r), _) if !matches!(r.state, RequestState::Pending | RequestState::Approved) => {
            Err(say!("it is ", r.state.word(), " already"))
        }
        (Some(r), Some(me)) if r.body.requester == me.id && r.course.thread.is_empty() => {
            Err(say!("nobody asked you anything yet"))
        }
        _ => Ok(()),
    }
}

fn can_break_glass(s: &State) -> Result<(), Said> {
    match (s.request_in_hand(), &s.me) {
        (None, _) => Err(say!("no request is under the cursor")),
        (Some(r), _) if r.state != RequestState::Pending => Err(say!("it is ", r.state.word(), " already")),
        (Some(_), Some(me)) if !(me.has(Role::Commander) || me.has(Role::Lead) || me.has(Role::Approver)) => {
            Err(say!("it takes a commander or a lead to let it run alone"))
        }
        _ => Ok(()),
    }
}

fn can_review(s: &State) -> Result<(), Said> {
    let glass = s.request_in_hand().and_then(|r| r.course.glass.as_ref());
    match (glass, &s.me) {
        (None, _) => Err(say!("nobody ran it alone")),
        (Some(g), _) if g.review.is_some() => Err(say!("it is reviewed already")),
        (Some(g), Some(me)) if g.by == me.id => Err(say!("you broke the glass; somebody else reviews it")),
        _ => Ok(()),
    }
}

fn can_withdraw(s: &State) -> Result<(), Said> {
    match (s.request_in_hand(), &s.me) {
        (None, _) => Err(say!("no request is under the cursor")),
        (Some(r), _) if !matches!(r.state, RequestState::Draft | RequestState::Pending | RequestState::Approved) => {
            Err(say!("it is ", r.state.word(), " already"))
        }
        (Some(r), Some(me)) if r.body.requester != me.id => Err(say!("only ", r.body.requester, " can withdraw it")),
        _ => Ok(()),
    }
}

fn can_edit(s: &State) -> Result<(), Said> {
    match (s.request_in_hand(), &s.me) {
        (None, _) => Err(say!("no request is under the cursor")),
        (Some(r), _) if !matches!(r.state, RequestState::Draft | RequestState::Pending | RequestState::Approved) => {
            Err(say!("it is ", r.state.word(), " already"))
        }
        (Some(r), Some(me)) if r.body.requester != me.id => Err(say!("only ", r.body.requester, " can edit it")),
        (Some(r), _) => kept::not_edited_here(s, r).map_or(Ok(()), Err),
    }
}

fn can_submit(s: &State) -> Result<(), Said> {
    match (s.request_in_hand(), &s.me) {
        (None, _) => Err(say!("no request is under the cursor")),
        (Some(r), _) if r.state != RequestState::Draft => Err(say!("it is ", r.state.word(), ", not a draft")),
        (Some(r), Some(me)) if r.body.requester != me.id => Err(say!("only ", r.body.requester, " can submit it")),
        _ => Ok(()),
    }
}

fn can_keep(s: &State) -> Result<(), Said> {
    match s.overlays.last() {
        Some(Overlay::Form(f)) if kept::keeps(f) => Ok(()),
        _ => Err(say!("this form proposes nothing")),
    }
}

fn can_retry(s: &State) -> Result<(), Said> {
    follows(s, |r| matches!(r, ReceiptState::Failed | ReceiptState::Skipped), "no target of it failed")
}

fn can_take_back(s: &State) -> Result<(), Said> {
    if s.request_in_hand().is_some_and(|r| r.body.undo.is_none()) {
        return Err(say!("it cannot be undone by an action"));
    }
    follows(s, |r| r == ReceiptState::Done, "it was done nowhere")
}

/// It ran, and some target ended so that there is something to ask for.
fn follows(s: &State, wanted: impl Fn(ReceiptState) -> bool, none: &'static str) -> Result<(), Said> {
    writing(s)?;
    match s.request_in_hand() {
        None => Err(say!("no request is under the cursor")),
        Some(r) if !matches!(r.state, RequestState::Done | RequestState::Failed) => Err(say!("it has not run")),
        Some(r) if !r.receipts.iter().any(|x| wanted(x.state)) => Err(say!(none)),
        Some(_) => Ok(()),
    }
}

fn has_pages(s: &State) -> Result<(), Said> {
    if s.tab.pages().len() > 1 { Ok(()) } else { Err(say!("this tab has one page")) }
}

fn on_platform(s: &State) -> Result<(), Said> {
    if s.tab.is_platform() { Ok(()) } else { Err(say!("nothing stands beside this list")) }
}

fn on_rollout(s: &State) -> Result<(), Said> {
    match health::rollout_in_hand(s) {
        None => Err(say!("no rollout is under the cursor")),
        Some(_) if !s.catalogue.iter().any(|a| a.name.starts_with("rollout-")) => {
            Err(say!("no cluster may be written to (write_kubeconfig in operate.kubernetes)"))
        }
        Some(_) => Ok(()),
    }
}

fn can_abort(s: &State) -> Result<(), Said> {
    on_rollout(s)?;
    let Some(r) = health::rollout_in_hand(s) else { return Ok(()) };
    match health::offer_of(s, r, RolloutVerb::Abort).map(|o| o.patch) {
        Some(Err(why)) => Err(Said::of(&why)),
        _ => Ok(()),
    }
}

fn has_rollout_request(s: &State) -> Result<(), Said> {
    match health::rollout_in_hand(s) {
        None => Err(say!("no rollout is under the cursor")),
        Some(r) if health::requests_about(s, r).next().is_none() => Err(say!("no request about it is open")),
        Some(_) => Ok(()),
    }
}

fn on_asset(s: &State) -> Result<(), Said> {
    if health::asset_in_hand(s).is_some() { Ok(()) } else { Err(say!("nothing is under the cursor")) }
}

fn can_back_up(s: &State) -> Result<(), Said> {
    on_asset(s)?;
    if s.catalogue.iter().any(health::is_backup_act) {
        Ok(())
    } else {
        Err(say!("the catalogue has no action on backups (respond.catalogue)"))
    }
}

/// Whether the person may set a budget aside, and there is one to set aside.
fn can_set_aside(s: &State) -> Result<(), Said> {
    let Some(Overlay::Decide(d)) = s.overlays.last() else { return Err(say!("open a request first")) };
    if d.what != Deciding::Approve {
        return Err(say!("it is not yours to approve now"));
    }
    if s.me.as_ref().is_none_or(|p| !p.has(Role::Commander)) {
        return Err(say!("it takes a commander to set an error budget aside"));
    }
    match &d.standing {
        Some(Ok(found)) if !found.iter().any(|f| f.refuses) => Err(say!("no budget stands against it")),
        _ => Ok(()),
    }
}

fn has_changed(s: &State) -> Result<(), Said> {
    match s.overlays.last() {
        Some(Overlay::Decide(d)) if d.changed.is_some() => Ok(()),
        _ => Err(say!("it has not changed")),
    }
}

fn asks_for_name(s: &State) -> Result<(), Said> {
    match s.overlays.last() {
        Some(Overlay::Decide(d)) if d.asked().is_some() => Ok(()),
        _ => Err(say!("nothing is to be typed here")),
    }
}

/// The scopes whose keys work now, nearest first.
pub fn scopes(state: &State) -> &'static [Scope] {
    match state.overlays.last() {
        Some(Overlay::Form(_) | Overlay::Filter(_)) => &[Scope::Form],
        Some(Overlay::Picker(_)) => &[Scope::Picker],
        Some(Overlay::Decide(_)) => &[Scope::Decide, Scope::List, Scope::Global],
        Some(Overlay::Raw(_)) => &[Scope::Raw, Scope::Detail, Scope::Alert, Scope::List, Scope::Global],
        Some(Overlay::Review(_)) => &[Scope::Review, Scope::List, Scope::Global],
        Some(Overlay::Sheet(_)) => &[Scope::List, Scope::Global],
        None => match state.tab {
            Tab::Queue if state.full => &[Scope::Detail, Scope::Alert, Scope::Queue, Scope::List, Scope::Global],
            Tab::Queue => &[Scope::Queue, Scope::Alert, Scope::List, Scope::Global],
            Tab::Cases => &[Scope::Cases, Scope::Pane, Scope::List, Scope::Global],
            Tab::Playbooks => &[Scope::Playbooks, Scope::Pane, Scope::List, Scope::Global],
            Tab::Approvals => &[Scope::Approvals, Scope::Decide, Scope::List, Scope::Global],
            Tab::Views => &[Scope::Views, Scope::Pane, Scope::List, Scope::Global],
            Tab::Suppressions => &[Scope::Suppressions, Scope::Pane, Scope::List, Scope::Global],
            Tab::Rollouts => &[Scope::Rollouts, Scope::Pane, Scope::List, Scope::Global],
            Tab::Backups => &[Scope::Backups, Scope::Pane, Scope::List, Scope::Global],
            Tab::Slo | Tab::Sla | Tab::Checklists => &[Scope::Pane, Scope::List, Scope::Global],
            Tab::Status => &[Scope::Status, Scope::List, Scope::Global],
            Tab::Triage => &[Scope::Triage, Scope::List, Scope::Global],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::keymap::{BUNDLED, Keymap};
    use super::*;

    #[test]
    fn words_are_unique_and_documented() {
        let mut words: Vec<&str> = ACTIONS.iter().map(|a| a.word).collect();
        words.sort_unstable();
        let n = words.len();
        words.dedup();
        assert_eq!(n, words.len());
        for a in ACTIONS {
            assert!(a.help.ends_with('.'), "{}: the help is a sentence", a.word);
            assert!(a.word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", a.word);
            assert_eq!(Do::parse(a.word), Some(a.id));
            assert_eq!(a.id.action().word, a.word);
        }
    }

    #[test]
    fn every_action_can_be_reached() {
        // The palette offers everything but what only makes sense inside a form or a list to pick from.
        for (name, _) in BUNDLED {
            let map = Keymap::load(name, &[]).unwrap();
            for a in ACTIONS {
                let by_key = map.all().any(|(_, _, act)| act == a.id);
                let by_palette = !matches!(a.scope, Scope::Form | Scope::Picker | Scope::List);
                assert!(by_key || by_palette, "{name}: {} cannot be reached", a.word);
            }
        }
    }
}
