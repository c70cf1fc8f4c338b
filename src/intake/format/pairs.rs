//! Keys and values of CEF extensions and LEEF attributes.

/// In the order they came; a key that comes twice keeps both, and the first is found.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

/// Pairs read at most, so that a hostile line stays cheap.
const MAX_PAIRS: usize = 1024;

impl Pairs {
    /// A CEF extension: `key=value key2=value with spaces`. A value ends before the last space that is followed by a
    /// key and `=`; `\=`, `\\`, `\n`, `\r` are escapes.
    pub fn cef(text: &str) -> Self {
        let bytes = text.as_bytes();
        // Where each key begins and where its `=` is.
        let mut keys: Vec<(usize, usize)> = Vec::new();
        for eq in memchr::memchr_iter(b'=', bytes) {
            let begin = bytes[..eq].iter().rposition(|b| !is_key(*b)).map_or(0, |i| i + 1);
            let bounded = begin == 0 || matches!(bytes[begin - 1], b' ' | b'\t' | b'\n');
            if bounded && begin < eq && keys.last().is_none_or(|(_, last)| begin > *last) {
                keys.push((begin, eq));
                if keys.len() == MAX_PAIRS {
                    break;
                }
            }
        }
        let ends = keys.iter().skip(1).map(|(begin, _)| *begin).chain([text.len()]);
        let pairs = keys
            .iter()
            .zip(ends)
            .map(|((begin, eq), end)| (text[*begin..*eq].to_owned(), unescape(text[eq + 1..end].trim())));
        Self(pairs.collect())
    }

    /// LEEF attributes, split by a delimiter.
    pub fn leef(text: &str, delimiter: char) -> Self {
        let parts = text.split(delimiter).filter_map(|part| part.split_once('='));
        Self(parts.take(MAX_PAIRS).map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect())
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

fn is_key(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'[' | b']')
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(c @ ('=' | '\\' | '|')) => out.push(c),
            // Windows paths come unescaped from many sources.
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_spaces_and_escapes() {
        let x = Pairs::cef(r"src=10.0.0.1 msg=a b\=c cs1=x y z fname=C:\tmp\evil.exe request=http://h/?a\=b end=1");
        assert_eq!(x.get("src"), Some("10.0.0.1"));
        assert_eq!(x.get("msg"), Some("a b=c"));
        assert_eq!(x.get("cs1"), Some("x y z"));
        assert_eq!(x.get("fname"), Some(r"C:\tmp\evil.exe"));
        assert_eq!(x.get("request"), Some("http://h/?a=b"));
        assert_eq!(x.get("end"), Some("1"));
    }

    #[test]
    fn an_unescaped_equals_sign_inside_a_word_stays() {
        let x = Pairs::cef("request=http://h/?a=b&c=d act=blocked");
        assert_eq!(x.get("request"), Some("http://h/?a=b&c=d"));
        assert_eq!(x.get("act"), Some("blocked"));
    }
}
