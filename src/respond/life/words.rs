//! Refusals, as people read them.

use super::{Facts, No, Wish};
use crate::model::action::{Request, RequestState, Tier};
use crate::model::person::Role;

/// Which of its times has run out, for a state that has one. Read after the state changed it says the same.
pub(super) fn too_late(r: &Request) -> Option<String> {
    if !r.was_asked() {
        return Some(format!("{} did not submit the draft by {}", r.body.requester, r.body.approve_by));
    }
    // Approvals given in time are what tells the two apart once it has expired.
    let waited_for_approval = r.state == RequestState::Pending
        || (r.approvals.len() < usize::from(r.body.approvals_needed) && r.course.glass.is_none());
    Some(if waited_for_approval {
        format!("nobody approved it by {}", r.body.approve_by)
    } else {
        format!("nobody started it by {}", r.body.execute_by)
    })
}

fn roles(of: &[Role]) -> String {
    of.iter().map(|r| r.word()).collect::<Vec<_>>().join(" or ")
}

impl No {
    /// `NotNow` is for the caller, who knows how to tell where the request stands.
    pub fn words(self, r: &Request, wish: &Wish, f: &Facts<'_>) -> String {
        let by = wish.by().map_or("the desk", |p| p.as_str());
        let b = &r.body;
        match self {
            Self::NotNow => format!("{} is {}", b.id, r.state.word()),
            Self::Stranger => format!("{by} is not on the roster"),
            Self::Reader => format!("{by} may only read"),
            Self::Requester if matches!(wish, Wish::Ask { .. }) => {
                format!("{by} proposed it; approvers ask back, and {by} answers")
            }
            Self::Requester => format!("{by} proposed it; somebody else must approve it"),
            Self::Twice => format!("{by} approved it already; it needs somebody else"),
            Self::OtherDigest => "it is not what was shown: its digest differs".into(),
            Self::Late if matches!(wish, Wish::Begin { .. }) => {
                format!("too late: it could be started until {}", b.execute_by)
            }
            Self::Late => format!("too late: {}", too_late(r).unwrap_or_default()),
            Self::Role => match wish {
                Wish::Deny { .. } => format!("{by} may not decide about this; the requester may withdraw it"),
                Wish::BreakGlass { .. } => {
                    format!("{by} may not break the glass: it takes the role {}", roles(&f.rules.break_glass.roles))
                }
                Wish::Begin { .. } => {
                    format!("{by} may not execute: it takes the role {}", roles(&f.rules.roles.execute))
                }
                Wish::Ask { .. } => format!("{by} may not ask back: that is for who may approve it"),
                _ => {
                    let terms = f.rules.tier(b.tier);
                    format!("{by} may not approve {}: it takes the role {}", b.tier.word(), roles(&terms.approve))
                }
            },
            Self::NotTheirs => match wish {
                Wish::Withdraw { .. } => {
                    format!("only {} can withdraw it; an approver can deny it", b.requester)
                }
                Wish::Answer { .. } => format!("only {} answers: they asked for it", b.requester),
                _ => format!("it is {}'s draft: nobody else changes or submits it", b.requester),
            },
            Self::SameHand => format!("{by} asked for it; at {} somebody else must start it", b.tier.word()),
            Self::NoGlass if super::super::govern::governs(&b.action) => {
                "how the desk is governed is never one person's to change".into()
            }
            Self::NoGlass => {
                let tiers: Vec<&str> = f.rules.break_glass.tiers.iter().copied().map(Tier::word).collect();
                format!("the policy does not let {} be run by one person; it names {}", b.tier.word(), tiers.join(", "))
            }
            Self::NoQuestion => "nobody asked anything yet".into(),
            Self::NotThatRung => "that rung of the ladder is not due".into(),
        }
    }
}
