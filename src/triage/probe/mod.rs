//! Is this model fit for this job? A dozen alerts whose answer is known, and two that try to steer, are put to it as a
//! desk would put them.
//!
//! It finds out whether a model can do the work at all. How good it is on a desk's own alerts is what `eval` finds out.

mod cases;
mod run;
mod score;

pub use cases::{Case, Want, cases};
pub use run::{Told, run};
pub use score::{Conclusion, Ended, Measure, Outcome, Report, score};
