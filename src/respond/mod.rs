//! From a proposal to a receipt: propose, policy, approve, execute.
