//! Names of the events analysts meet, from Microsoft's and Sysinternals' documentation.

/// A short name for where an event comes from.
pub fn source<'a>(channel: &'a str, provider: &'a str) -> &'a str {
    for text in [channel, provider] {
        for (part, name) in [
            ("Sysmon", "Sysmon"),
            ("Security-Auditing", "Security"),
            ("Windows Defender", "Defender"),
            ("PowerShell", "PowerShell"),
            ("TaskScheduler", "TaskScheduler"),
            ("WMI-Activity", "WMI"),
            ("TerminalServices", "RDP"),
            ("Bits-Client", "BITS"),
        ] {
            if text.contains(part) {
                return name;
            }
        }
    }
    let name = if channel.is_empty() { provider } else { channel };
    if name.is_empty() { "Windows" } else { name }
}

/// What an event id of that source means.
pub fn event(source: &str, id: i64) -> Option<&'static str> {
    match source {
        "Sysmon" => sysmon(id),
        "Security" => security(id),
        "PowerShell" => Some(match id {
            400 => "Engine started",
            403 => "Engine stopped",
            600 => "Provider started",
            800 => "Pipeline execution details",
            4103 => "Module logging",
            4104 => "Script block logging",
            4105 => "Script block started",
            4106 => "Script block stopped",
            _ => return None,
        }),
        "System" => Some(match id {
            104 => "Event log cleared",
            1102 => "Audit log cleared",
            7034 => "Service crashed",
            7036 => "Service changed state",
            7040 => "Service start type changed",
            7045 => "Service installed",
            _ => return None,
        }),
        "Defender" => Some(match id {
            1006 | 1116 => "Malware detected",
            1007 | 1117 => "Action taken on malware",
            1118 | 1119 => "Action on malware failed",
            5001 => "Real-time protection disabled",
            5007 => "Configuration changed",
            _ => return None,
        }),
        "TaskScheduler" => Some(match id {
            106 => "Task registered",
            140 => "Task updated",
            141 => "Task removed",
            200 => "Task started an action",
            201 => "Task finished an action",
            _ => return None,
        }),
        "WMI" => Some(match id {
            5857 => "Provider loaded",
            5858 => "Query failed",
            5860 => "Temporary event subscription",
            5861 => "Permanent event subscription",
            _ => return None,
        }),
        _ => None,
    }
}

fn sysmon(id: i64) -> Option<&'static str> {
    const NAMES: [&str; 29] = [
        "Process created",
        "File creation time changed",
        "Network connection",
        "Sysmon service state changed",
        "Process ended",
        "Driver loaded",
        "Image loaded",
        "Remote thread created",
        "Raw disk access",
        "Process accessed",
        "File created",
        "Registry key created or deleted",
        "Registry value set",
        "Registry key or value renamed",
        "File stream created",
        "Sysmon configuration changed",
        "Pipe created",
        "Pipe connected",
        "WMI filter registered",
        "WMI consumer registered",
        "WMI consumer bound to filter",
        "DNS query",
        "File deleted and archived",
        "Clipboard changed",
        "Process tampered with",
        "File deleted",
        "Executable file blocked",
        "File shredding blocked",
        "Executable file detected",
    ];
    NAMES.get(usize::try_from(id).ok()?.checked_sub(1)?).copied()
}

fn security(id: i64) -> Option<&'static str> {
    Some(match id {
        1100 => "Event logging service shut down",
        1102 => "Audit log cleared",
        4616 => "System time changed",
        4624 => "Logon",
        4625 => "Logon failed",
        4627 => "Group membership of a logon",
        4634 => "Logoff",
        4647 => "Logoff by the user",
        4648 => "Logon with explicit credentials",
        4656 => "Handle to an object requested",
        4657 => "Registry value changed",
        4658 => "Handle to an object closed",
        4660 => "Object deleted",
        4661 => "Handle to a directory object requested",
        4662 => "Operation on a directory object",
        4663 => "Object accessed",
        4670 => "Permissions of an object changed",
        4672 => "Special privileges assigned to a logon",
        4673 => "Privileged service called",
        4674 => "Operation on a privileged object",
        4688 => "Process created",
        4689 => "Process ended",
        4690 => "Handle to an object duplicated",
        4697 => "Service installed",
        4698 => "Scheduled task created",
        4699 => "Scheduled task deleted",
        4700 => "Scheduled task enabled",
        4701 => "Scheduled task disabled",
        4702 => "Scheduled task updated",
        4703 => "Privileges of a user adjusted",
        4719 => "Audit policy changed",
        4720 => "User account created",
        4722 => "User account enabled",
        4723 => "Password change attempted",
        4724 => "Password reset attempted",
        4725 => "User account disabled",
        4726 => "User account deleted",
        4728 => "Member added to a global group",
        4732 => "Member added to a local group",
        4735 => "Local group changed",
        4738 => "User account changed",
        4740 => "User account locked out",
        4756 => "Member added to a universal group",
        4768 => "Kerberos ticket-granting ticket requested",
        4769 => "Kerberos service ticket requested",
        4770 => "Kerberos service ticket renewed",
        4771 => "Kerberos pre-authentication failed",
        4776 => "Credentials validated",
        4778 => "Session reconnected",
        4779 => "Session disconnected",
        4798 => "Local group membership of a user enumerated",
        4799 => "Members of a local group enumerated",
        4985 => "State of a transaction changed",
        5136 => "Directory object changed",
        5140 => "Network share accessed",
        5142 => "Network share added",
        5145 => "File on a network share checked",
        5156 => "Connection allowed by the filtering platform",
        5157 => "Connection blocked by the filtering platform",
        5158 => "Port bound through the filtering platform",
        5379 => "Stored credentials read",
        _ => return None,
    })
}
