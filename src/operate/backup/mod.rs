//! Backups: read from their makers, graded by proof, held against objectives.
