//! A prompt in the shape the model was trained on.
//!
//! The model's own chat template is rendered once, with two words in place of the texts, and cut at them. The pieces of
//! the template are tokenized as templates are, with their control tokens; the texts never are: `<|im_end|>` in an alert
//! is six ordinary tokens and ends nobody's turn.

use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
use llama_cpp_2::token::LlamaToken;

const SYSTEM: &str = "watchfloor-system-text-goes-here";
const USER: &str = "watchfloor-user-text-goes-here";

/// What stands before, between and behind the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    head: String,
    middle: String,
    tail: String,
}

/// A prompt cut where the part that is the same for every request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub fixed: Vec<LlamaToken>,
    pub rest: Vec<LlamaToken>,
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.fixed.len() + self.rest.len()
    }
}

impl Template {
    /// The model's own, else ChatML.
    pub fn of(model: &LlamaModel) -> Self {
        let own = model.chat_template(None).ok();
        let source = own.as_ref().and_then(|t| t.to_string().ok()).unwrap_or_default();
        let rendered = own.and_then(|template| render(model, &template)).or_else(|| {
            tracing::info!("the model has no chat template that llama.cpp knows: ChatML instead");
            render(model, &LlamaChatTemplate::new("chatml").ok()?)
        });
        let mut template = rendered.unwrap_or_else(Self::chatml);
        // Models that think aloud first are told that they have: an answer held to a schema leaves no room for it.
        if source.contains("enable_thinking") && source.contains("</think>") && !template.tail.contains("<think>") {
            template.tail.push_str("<think>\n\n</think>\n\n");
        } else if source.contains("<|channel|>") && !template.tail.contains("<|channel|>") {
            template.tail.push_str("<|channel|>final<|message|>");
        }
        template
    }

    fn chatml() -> Self {
        Self {
            head: "<|im_start|>system\n".into(),
            middle: "<|im_end|>\n<|im_start|>user\n".into(),
            tail: "<|im_end|>\n<|im_start|>assistant\n".into(),
        }
    }

    /// Cuts a rendered prompt at the two words.
    fn cut(rendered: &str) -> Option<Self> {
        let (head, rest) = rendered.split_once(SYSTEM)?;
        let (middle, tail) = rest.split_once(USER)?;
        Some(Self { head: head.into(), middle: middle.into(), tail: tail.into() })
    }

    pub fn tokens(&self, model: &LlamaModel, system: &str, user: &str) -> Tokens {
        let vocab = model.vocab();
        let mut fixed = vocab.tokenize(self.head.as_bytes(), false, true);
        let bos = vocab.bos();
        if vocab.should_add_bos() && fixed.first() != Some(&bos) {
            fixed.insert(0, bos);
        }
        vocab.tokenize_into(system.as_bytes(), &mut fixed, false, false);
        vocab.tokenize_into(self.middle.as_bytes(), &mut fixed, false, true);
        let mut rest = vocab.tokenize(user.as_bytes(), false, false);
        vocab.tokenize_into(self.tail.as_bytes(), &mut rest, false, true);
        Tokens { fixed, rest }
    }
}

fn render(model: &LlamaModel, template: &LlamaChatTemplate) -> Option<Template> {
    let message = |role: &str, text: &str| LlamaChatMessage::new(role.into(), text.into()).ok();
    let both = [message("system", SYSTEM)?, message("user", USER)?];
    let rendered = model.apply_chat_template(template, &both, true).ok();
    if let Some(cut) = rendered.as_deref().and_then(Template::cut) {
        return Some(cut);
    }
    // A template without a system turn: both texts in the user's.
    let joined = [message("user", &format!("{SYSTEM}\n\n{USER}"))?];
    Template::cut(&model.apply_chat_template(template, &joined, true).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_prompt_is_cut_at_the_texts() {
        let rendered = format!("<s>[SYS]{SYSTEM}[/SYS]\n[USER]{USER}[/USER]");
        let cut = Template::cut(&rendered).unwrap();
        assert_eq!(
            (cut.head.as_str(), cut.middle.as_str(), cut.tail.as_str()),
            ("<s>[SYS]", "[/SYS]\n[USER]", "[/USER]")
        );
        assert_eq!(Template::cut("a template that drops the system text"), None);
        assert_eq!(Template::cut(&format!("{USER} before {SYSTEM}")), None);
    }
}
