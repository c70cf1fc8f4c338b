//! Words for a shell far away.
//!
//! `ssh` hands the other side one string, which its login shell splits again. Each word is put between single quotes,
//! where a POSIX shell (2.2.2 of the Shell Command Language) takes every byte as it is; a single quote itself stands
//! between two quoted parts as `\'`.

/// One string that a POSIX shell splits into exactly these words. `Err`: one holds a NUL, which no argument can.
pub fn quote(words: &[String]) -> Result<String, String> {
    let mut out = String::new();
    for (i, word) in words.iter().enumerate() {
        if word.contains('\0') {
            return Err(format!("argument {i} holds a NUL byte"));
        }
        if i > 0 {
            out.push(' ');
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:,@%".contains(&b);
        if !word.is_empty() && word.bytes().all(plain) {
            out.push_str(word);
        } else {
            out.push('\'');
            out.push_str(&word.replace('\'', r"'\''"));
            out.push('\'');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a real shell makes of it.
    fn seen_by_sh(line: &str) -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "the shell itself is asked")]
        let out = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("show() {{ for w; do printf '%s\\0' \"$w\"; done; }}; show {line}"))
            .env_clear()
            .output()
            .unwrap();
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        let mut words: Vec<String> = text.split('\0').map(str::to_owned).collect();
        assert_eq!(words.pop().as_deref(), Some(""));
        words
    }

    fn words(of: &[&str]) -> Vec<String> {
        of.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(quote(&words(&["/usr/bin/id", "-u", "a b", ""])).unwrap(), "/usr/bin/id -u 'a b' ''");
        assert!(quote(&words(&["a\0b"])).is_err());
    }

    #[test]
    fn a_real_shell_sees_what_was_meant() {
        let hostile = words(&[
            "it's",
            "'",
            "''",
            "$(touch /tmp/pwned)",
            "`id`",
            "a;b",
            "a|b",
            "a&b",
            "a>b",
            "*",
            "~",
            "~root",
            "{a,b}",
            "#x",
            "\\",
            "\\'",
            "a\nb",
            "\n",
            " ",
            "\t",
            "!",
            "!!",
            "$HOME",
            "${IFS}",
            "-rf",
            "--",
            "=",
            "a=b",
            "\"",
            "\u{202e}x",
            "é",
            "\u{1b}[31m",
            "\r",
            "%s%n",
            "",
        ]);
        assert_eq!(seen_by_sh(&quote(&hostile).unwrap()), hostile);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_words_arrive_exactly(some in proptest::collection::vec("[^\\x00]{0,24}|[ '\"\\\\$`!*?~#;&|<>(){}\\n\\t-]{0,12}", 1..8)) {
            prop_assert_eq!(seen_by_sh(&quote(&some).unwrap()), some);
        }
    }
}
