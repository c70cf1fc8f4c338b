//! The mark of a playbook that a model wrote. It is put on when the draft is made and put back after every edit; export
//! and conversion carry it, for it is part of the document.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::model::playbook::GENERATED;
use crate::playbook::Document;
use crate::playbook::ids;

/// Marks a document again as `before` was marked: who made it, the label, and what is known of the model. `by`: who
/// changed it.
///
/// # Errors
/// When the document cannot be written.
pub fn keep(before: &Document, edited: Document, by: &str) -> Result<Document, String> {
    let said = |doc: &Document| {
        let own = doc.json().get("playbook_extensions").and_then(|e| e.get(ids::EXTENSION));
        own.and_then(|o| o.get("generated")).cloned().unwrap_or_else(|| json!({}))
    };
    let mut generated = said(before);
    let mut people: Vec<Value> = generated.get("edited_by").and_then(Value::as_array).cloned().unwrap_or_default();
    if !people.iter().any(|p| p.as_str() == Some(by)) {
        people.push(by.into());
    }
    if let Some(o) = generated.as_object_mut() {
        o.insert("edited_by".into(), people.into());
    }
    let (id, key) = (before.json().get("id").cloned(), key_of(before));
    let Value::Object(mut json) = edited.into_json() else { return Err("no object".into()) };
    // It stays the draft it is: under another id or key it could take the place of another playbook.
    if let Some(id) = id {
        json.insert("id".into(), id);
    }
    json.insert("created_by".into(), ids::model_identity().into());
    label(&mut json);
    let own = json.entry("playbook_extensions").or_insert_with(|| json!({}));
    let own = own.as_object_mut().ok_or("playbook_extensions is no object")?;
    let own = own.entry(ids::EXTENSION).or_insert_with(|| json!({}));
    let own = own.as_object_mut().ok_or("our extension is no object")?;
    own.insert("generated".into(), generated);
    if let Some(key) = key {
        own.insert("key".into(), key);
    }
    Document::of(Value::Object(json)).map_err(|e| e.to_string())
}

fn key_of(doc: &Document) -> Option<Value> {
    doc.json().get("playbook_extensions")?.get(ids::EXTENSION)?.get("key").cloned()
}

fn label(json: &mut Map<String, Value>) {
    let labels = json.entry("labels").or_insert_with(|| json!([]));
    if !labels.is_array() {
        *labels = json!([]);
    }
    if let Some(all) = labels.as_array_mut()
        && !all.iter().any(|l| l.as_str() == Some(GENERATED))
    {
        all.insert(0, GENERATED.into());
    }
}
