//! Agreements: probes, exclusions, uptime of a month, credits.
