//! Checklists: what must be so before, during and after, ticked by people or by what the desk can see.
