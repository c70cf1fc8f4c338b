//! What a hub knows of a file: size, digest, licence.
//!
//! The interface is that of Hugging Face (<https://huggingface.co/docs/hub/api>), which its mirrors speak too:
//! `GET /api/models/ORG/NAME?blobs=true`, files at `/ORG/NAME/resolve/main/FILE`.

use reqwest::Url;
use serde::Deserialize;

use super::fetch::Fetcher;
use super::source::HubFile;
use super::{Digest, ModelError, Result};
use crate::text::Untrusted;

/// Of a description, bytes. Repositories of many files reach a few hundred kilobytes.
const MAX: usize = 8 << 20;

/// What is told about a file. `None`: the hub does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    pub licence: Option<Untrusted>,
    pub sha256: Option<Digest>,
    pub bytes: Option<u64>,
    /// People must accept terms on the hub's page first.
    pub gated: bool,
}

/// Base address of a hub.
#[derive(Clone, Debug)]
pub(super) struct Hub(Url);

impl Hub {
    pub fn new(base: &str) -> Result<Self> {
        let wrong =
            |why: &str| ModelError::Usage(format!("triage.local.hub: {why}, expected such as https://huggingface.co"));
        let mut url = Url::parse(base.trim()).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.query().is_some() {
            return Err(wrong("is no base address"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }

    fn at(&self, path: &str) -> Result<Url> {
        self.0.join(path).map_err(|e| ModelError::Usage(format!("triage.local.hub: {e}")))
    }

    pub fn url(&self, f: &HubFile) -> Result<Url> {
        self.at(&format!("{}/{}/resolve/main/{}", f.org, f.name, f.file))
    }

    /// Asks.
    pub async fn about(&self, fetcher: &Fetcher, f: &HubFile, token: Option<&str>) -> Result<About> {
        let url = self.at(&format!("api/models/{}/{}?blobs=true", f.org, f.name))?;
        let body = fetcher.text(&url, token, MAX).await?;
        read(&body, f)
    }
}

fn read(body: &str, f: &HubFile) -> Result<About> {
    #[derive(Deserialize)]
    struct Repo {
        #[serde(default)]
        siblings: Vec<Sibling>,
        #[serde(default, rename = "cardData")]
        card: Option<Card>,
        #[serde(default)]
        tags: Vec<String>,
        /// `false`, `"auto"` or `"manual"`.
        #[serde(default)]
        gated: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
        #[serde(default)]
        size: Option<u64>,
        #[serde(default)]
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        #[serde(default)]
        sha256: Option<String>,
        #[serde(default)]
        size: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Card {
        #[serde(default)]
        license: serde_json::Value,
        #[serde(default)]
        license_name: Option<String>,
    }
    let repo: Repo = serde_json::from_str(body)
        .map_err(|e| ModelError::Unreachable(format!("the hub's answer is not the description asked for: {e}")))?;
    let Some(file) = repo.siblings.iter().find(|s| s.rfilename == f.file) else {
        let there: Vec<&str> =
            repo.siblings.iter().map(|s| s.rfilename.as_str()).filter(|n| n.ends_with(".gguf")).take(20).collect();
        let there = if there.is_empty() { "no GGUF file".to_owned() } else { there.join(", ") };
        return Err(ModelError::No(format!("{}/{} has no file {}; it has {there}", f.org, f.name, f.file)));
    };
    let stated = repo.card.as_ref().and_then(|c| match c.license.as_str() {
        Some("other") => c.license_name.clone().or(Some("other".into())),
        Some(word) => Some(word.to_owned()),
        None => c.license.as_array().and_then(|a| a.first()?.as_str().map(str::to_owned)),
    });
    let tagged = || repo.tags.iter().find_map(|t| t.strip_prefix("license:").map(str::to_owned));
    let lfs = file.lfs.as_ref();
    Ok(About {
        licence: stated.or_else(tagged).map(Untrusted::new),
        sha256: lfs.and_then(|l| l.sha256.as_deref()?.parse().ok()),
        bytes: lfs.and_then(|l| l.size).or(file.size),
        gated: !matches!(repo.gated, serde_json::Value::Bool(false) | serde_json::Value::Null),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_says_licence_size_and_digest() {
        let f = HubFile::of("o/n", "f.gguf").unwrap();
        let sha = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
        let body = serde_json::json!({
            "id": "o/n", "gated": false, "tags": ["gguf", "license:mit"], "cardData": {"license": "apache-2.0"},
            "siblings": [
                {"rfilename": "README.md", "size": 3},
                {"rfilename": "f.gguf", "size": 7, "blobId": "x", "lfs": {"sha256": sha, "size": 7, "pointerSize": 134}},
            ],
        });
        let about = read(&body.to_string(), &f).unwrap();
        assert_eq!((about.bytes, about.gated), (Some(7), false));
        assert_eq!((about.sha256.unwrap().as_str(), about.licence), (sha, Some("apache-2.0".into())));
        let wrong = read(&body.to_string(), &HubFile::of("o/n", "g.gguf").unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("it has f.gguf"), "{wrong}");
    }

    #[test]
    fn what_it_does_not_say_stays_unknown() {
        let f = HubFile::of("o/n", "f.gguf").unwrap();
        let of = |body: serde_json::Value| read(&body.to_string(), &f).unwrap();
        let bare = of(serde_json::json!({"siblings": [{"rfilename": "f.gguf"}]}));
        assert_eq!(bare, About::default());
        let other = of(serde_json::json!({
            "gated": "manual", "cardData": {"license": "other", "license_name": "llama3.1"},
            "siblings": [{"rfilename": "f.gguf", "lfs": {"sha256": "not a digest"}}],
        }));
        assert_eq!((other.licence, other.gated, other.sha256), (Some("llama3.1".into()), true, None));
        let tagged = of(serde_json::json!({"tags": ["license:mit"], "siblings": [{"rfilename": "f.gguf"}]}));
        assert_eq!(tagged.licence, Some("mit".into()));
        assert!(matches!(read("<html>", &f), Err(ModelError::Unreachable(_))));
    }

    #[test]
    fn addresses_are_under_the_base() {
        let f = HubFile::of("o/n", "sub/f.gguf").unwrap();
        for base in ["https://hub.example/mirror", "https://hub.example/mirror/"] {
            let url = Hub::new(base).unwrap().url(&f).unwrap();
            assert_eq!(url.as_str(), "https://hub.example/mirror/o/n/resolve/main/sub/f.gguf");
        }
        for base in ["", "hub.example", "file:///x", "https://h/?q=1"] {
            assert!(Hub::new(base).is_err(), "{base}");
        }
    }
}
