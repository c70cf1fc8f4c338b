//! The health of the platform the desk depends on: objectives and their budgets, rollouts, backups, agreements,
//! checklists. Sources read; evaluators are pure functions of what was read; nothing here changes anything outside.

pub mod backup;
pub mod checklist;
pub mod cluster;
pub mod rollout;
pub mod sla;
pub mod slo;
