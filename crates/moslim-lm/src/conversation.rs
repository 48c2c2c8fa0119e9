//! Conversations as token ids.

use crate::{LmError, Message, Tokenizer};

impl Tokenizer {
    /// The ids of a user's turn up to where the answer begins, with one begin token where the model has one.
    ///
    /// Rendered by the chat template; a model without template reads the text as it is.
    ///
    /// # Errors
    /// If the template or the tokenizer fails.
    pub fn encode_prompt(&self, user: &str) -> Result<Vec<u32>, LmError> {
        self.encode_chat(&[Message::user(user)])
    }

    /// The ids of a conversation, rendered as in [`encode_chat`](Self::encode_chat), and of an answer to it, the token that
    /// [ends](Self::answer_end) it included.
    ///
    /// Both are cut into tokens as one text where that does not change the prompt's tokens.
    ///
    /// # Errors
    /// If the template or the tokenizer fails.
    pub fn encode_exchange(
        &self,
        messages: &[Message],
        answer: &str,
    ) -> Result<(Vec<u32>, Vec<u32>), LmError> {
        let rendered = self.render(messages)?;
        let prompt = self.encode_rendered(&rendered)?;
        let whole = self.encode_rendered(&format!("{rendered}{answer}"))?;
        let mut answer = match whole.strip_prefix(prompt.as_slice()) {
            Some(rest) => rest.to_vec(),
            None => self.encode(answer)?,
        };
        answer.push(self.answer_end());
        Ok((prompt, answer))
    }

    /// The ids of a conversation up to where the next answer begins, rendered as in [`encode_prompt`](Self::encode_prompt).
    ///
    /// A model without template reads a single text as it is, and of several who says them, as in `Human: …`, up to
    /// `Assistant:`.
    ///
    /// # Errors
    /// If the template or the tokenizer fails.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, LmError> {
        self.encode_rendered(&self.render(messages)?)
    }

    fn render(&self, messages: &[Message]) -> Result<String, LmError> {
        match (self.template(), messages) {
            (Some(template), _) => template.render(messages, self.special(), true),
            (None, [message]) => Ok(message.content.clone()),
            (None, messages) => {
                let turns = messages.iter().map(|Message { role, content }| {
                    let speaker = match role.as_str() {
                        "user" => "Human",
                        "assistant" => "Assistant",
                        "system" => "System",
                        other => other,
                    };
                    format!("{speaker}: {content}\n\n")
                });
                Ok(turns.chain(["Assistant:".into()]).collect())
            }
        }
    }

    /// The ids of what a template rendered, which holds its special tokens, or of plain text, which does not.
    fn encode_rendered(&self, text: &str) -> Result<Vec<u32>, LmError> {
        if self.template().is_some() {
            return self.encode(text);
        }
        self.encode_document(text)
    }

    /// The text of an answer as it continues its prompt: a model without chat template keeps the blank between them.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode_continuation(&self, prompt: &[u32], answer: &[u32]) -> Result<String, LmError> {
        if self.template().is_none() {
            let whole = self.decode(&[prompt, answer].concat())?;
            if let Some(continuation) = whole.strip_prefix(&self.decode(prompt)?) {
                return Ok(continuation.into());
            }
        }
        self.decode(answer)
    }

    /// The first special token that the chat template puts after an answer, if it puts one there.
    pub(crate) fn rendered_answer_end(&self) -> Option<u32> {
        const ANSWER: &str = "answer of the model";
        let conversation = [Message::user("question"), Message::assistant(ANSWER)];
        let text = self.template()?.render(&conversation, self.special(), false).ok()?;
        let after = self.encode(text.rsplit_once(ANSWER)?.1).ok()?;
        let added = self.inner.get_added_tokens_decoder();
        after.into_iter().find(|id| added.get(id).is_some_and(|token| token.special))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::TokenizerKind;
    use crate::special_tokens::{CONFIG, SPECIAL_TOKENS, TEMPLATE};
    use crate::tokenizer::TOKENIZER;
    use crate::tokenizer::tests::{TEXTS, trained};

    #[test]
    fn both_kinds_return_the_text() {
        for kind in [TokenizerKind::Word, TokenizerKind::Bpe { vocab_size: 300 }] {
            let tokenizer = trained(kind);
            for text in TEXTS {
                let (prompt, answer) = tokenizer.encode_exchange(&[Message::user(TEXTS[0])], text).unwrap();
                assert_eq!(prompt, tokenizer.encode_prompt(TEXTS[0]).unwrap());
                assert_eq!(*answer.last().unwrap(), tokenizer.eos());
                assert_eq!(tokenizer.decode(&answer).unwrap(), text);
            }
        }
        let strange = "Grüße,\n\t🦀 <0>";
        let bpe = trained(TokenizerKind::Bpe { vocab_size: 300 });
        assert_eq!(bpe.decode(&bpe.encode(strange).unwrap()).unwrap(), strange);
    }

    #[test]
    fn a_prompt_has_one_begin_token_and_requests_are_single_tokens() {
        let tokenizer = trained(TokenizerKind::Word);
        let ids = tokenizer.encode_prompt("its food <helpfulness:5>").unwrap();
        let id = |token| tokenizer.token_id(token).unwrap();
        assert_eq!(ids, ["<s>", "its", "food", "<helpfulness:5>", "<answer>"].map(id));
    }

    /// A tokenizer that puts `▁` before every text, as those of Llama 2, without chat template.
    pub(crate) fn completing(folder: &Path) -> Tokenizer {
        let added = |id: u32, content: &str| {
            serde_json::json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
        };
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": "▁" },
                { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] },
            "pre_tokenizer": null,
            "post_processor": { "type": "TemplateProcessing",
                "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "Fuse" },
                { "type": "Strip", "content": " ", "start": 1, "stop": 0 }] },
            "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": true,
                "vocab": { "<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "b": 5, "▁a": 6, "▁b": 7 },
                "merges": [["▁", "a"], ["▁", "b"]] },
        });
        std::fs::write(folder.join(TOKENIZER), tokenizer.to_string()).unwrap();
        std::fs::write(folder.join(CONFIG), r#"{"bos_token": {"content": "<s>", "lstrip": false}}"#).unwrap();
        std::fs::write(folder.join(SPECIAL_TOKENS), r#"{"eos_token":  "</s>"}"#).unwrap();
        Tokenizer::read(folder).unwrap()
    }

    #[test]
    fn without_a_template_a_prompt_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = completing(folder.path());
        assert_eq!(tokenizer.encode_prompt("a b").unwrap(), [1, 6, 7]);
        // Cut by itself, the answer would begin with a `▁` of its own.
        let exchange = |answer| tokenizer.encode_exchange(&[Message::user("a")], answer).unwrap();
        assert_eq!(exchange(" b"), (vec![1, 6], vec![7, 2]));
        assert_eq!(exchange("b"), (vec![1, 6], vec![5, 2]));
        let several = [Message::system("a"), Message::user("b"), Message::assistant("a"), Message::user("b")];
        let text = "System: a\n\nHuman: b\n\nAssistant: a\n\nHuman: b\n\nAssistant:";
        assert_eq!(tokenizer.render(&several).unwrap(), text);
        assert_eq!(tokenizer.decode_continuation(&[1, 6], &[7, 2]).unwrap(), " b");
        assert_eq!(tokenizer.decode(&[7, 2]).unwrap(), "b");
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad()), (Some(1), 2, 2));
    }

    #[test]
    fn an_answer_ends_as_the_template_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        completing(folder.path());
        let ends = |template: &str| {
            std::fs::write(folder.path().join(TEMPLATE), template).unwrap();
            let tokenizer = Tokenizer::read(folder.path()).unwrap();
            let (_, answer) = tokenizer.encode_exchange(&[Message::user("a")], "b").unwrap();
            (tokenizer.answer_end(), answer)
        };
        let turns = |after: &str| {
            format!(
                "{{% for m in messages %}}{{{{ m.content }}}}{{% if m.role == 'assistant' %}}{after}{{% endif %}}{{% endfor %}}"
            )
        };
        assert_eq!(ends(&turns("{{ eos_token }}")).0, 2);
        // `<unk>` stands for any other special token, as `<|im_end|>` does beside `<|endoftext|>`.
        assert_eq!(ends(&turns("a<unk>b</s>")), (0, vec![5, 0]));
        for without in [turns("a"), "{{ messages[0].content }}".into(), "{{ raise_exception('no') }}".into()]
        {
            std::fs::write(folder.path().join(TEMPLATE), without).unwrap();
            assert_eq!(Tokenizer::read(folder.path()).unwrap().answer_end(), 2);
        }
    }
}
