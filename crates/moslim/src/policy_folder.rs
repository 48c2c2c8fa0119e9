//! A language model together with how requests are put to it.

use std::path::Path;

use burn::tensor::Device;
use moslim_data::{ObjectiveSchema, Prompt, PromptCodec, PromptCodecConfig, Request, Turn};
use moslim_lm::{
    CausalLm, Generated, Message, ModelFolder, SamplingParams, TokenRng, generate, read_json, write_folder,
    write_json, write_text,
};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::model_card::CARD;

/// A model folder that knows its objectives and the wording of requests.
#[derive(Clone, Debug)]
pub struct PolicyFolder {
    /// The model, its tokenizer and its configuration.
    pub lm: ModelFolder,
    /// The objectives that can be asked for.
    pub schema: ObjectiveSchema,
    /// The wording of requests.
    pub codec: PromptCodec,
    codec_config: PromptCodecConfig,
}

/// `request.json`.
#[derive(Serialize, Deserialize)]
struct RequestFile {
    objectives: ObjectiveSchema,
    codec: PromptCodecConfig,
}

const REQUEST: &str = "request.json";

impl PolicyFolder {
    /// Puts the parts together.
    ///
    /// # Errors
    /// If the codec does not fit the objectives.
    pub fn new(lm: ModelFolder, schema: ObjectiveSchema, codec: PromptCodecConfig) -> Result<Self, Error> {
        Ok(Self { lm, codec: PromptCodec::new(codec.clone(), &schema)?, schema, codec_config: codec })
    }

    /// The same folder with other weights.
    pub(crate) fn with_model(&self, model: CausalLm) -> Self {
        let mut other = self.clone();
        other.lm.model = model;
        other
    }

    /// Reads a folder that [`PolicyFolder::write`] wrote.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, Error> {
        Self::with_requests_of(ModelFolder::read(folder, device)?, folder)
    }

    /// Whether a model folder knows objectives and the wording of requests.
    pub fn knows_requests(folder: &Path) -> bool {
        folder.join(REQUEST).exists()
    }

    /// A model with the objectives and the wording of requests that a folder knows.
    ///
    /// # Errors
    /// If the folder knows none, or its file is malformed.
    pub fn with_requests_of(lm: ModelFolder, folder: &Path) -> Result<Self, Error> {
        let file: RequestFile = read_json(&folder.join(REQUEST))?;
        Self::new(lm, file.objectives, file.codec)
    }

    /// Writes the folder with a model card, whole or not at all.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, card: &str) -> Result<(), Error> {
        let file = RequestFile { objectives: self.schema.clone(), codec: self.codec_config.clone() };
        Ok(write_folder(folder, |unfinished| {
            self.lm.write_into(unfinished)?;
            write_text(&unfinished.join(CARD), card)?;
            write_json(&unfinished.join(REQUEST), &file)
        })?)
    }

    /// What the model is told before a conversation: a text, which may be empty, with the request if it stands there.
    ///
    /// # Errors
    /// If the text cannot be told from a request.
    pub fn system_turn(&self, text: &str, request: &Request) -> Result<Option<Message>, Error> {
        let text = self.codec.render_turn(Turn::System, text, request)?;
        Ok((!text.is_empty()).then(|| Message::system(text)))
    }

    /// A question, with the request if it stands there.
    ///
    /// # Errors
    /// If the question cannot be told from a request.
    pub fn user_turn(&self, question: &str, request: &Request) -> Result<Message, Error> {
        Ok(Message::user(self.codec.render_turn(Turn::User, question, request)?))
    }

    /// The tokens of a prompt with a request, which stands in its last turn or in what the model is told before.
    ///
    /// # Errors
    /// If the turn cannot be told from a request, or the template or the tokenizer fails.
    pub fn encode(&self, prompt: &Prompt, request: &Request) -> Result<Vec<u32>, Error> {
        let (system, said) = match prompt.before.split_first() {
            Some((first, said)) if first.role == "system" => (first.content.as_str(), said),
            _ => ("", prompt.before.as_slice()),
        };
        let said = said.iter().map(|turn| Message { role: turn.role.clone(), content: turn.content.clone() });
        let asks = self.user_turn(&prompt.question, request)?;
        let messages: Vec<Message> =
            self.system_turn(system, request)?.into_iter().chain(said).chain([asks]).collect();
        Ok(self.lm.tokenizer.encode_chat(&messages)?)
    }

    /// One answer to every prompt, as asked for: its text and its length in tokens.
    ///
    /// # Errors
    /// As [`PolicyFolder::encode`].
    pub fn answer(
        &self,
        prompts: &[(&Prompt, &Request)],
        params: &SamplingParams,
        rng: &TokenRng,
    ) -> Result<Vec<(String, usize)>, Error> {
        let prompts: Vec<Vec<u32>> =
            prompts.iter().map(|(prompt, request)| self.encode(prompt, request)).collect::<Result<_, _>>()?;
        let answers = generate(&self.lm.model, &prompts, 1, params, &self.lm.stops(), rng);
        let text_and_length =
            |Generated { tokens, .. }: &Generated| Ok((self.lm.tokenizer.decode(tokens)?, tokens.len()));
        answers.iter().map(text_and_length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moslim_data::{Objective, SpokenTurn};
    use moslim_lm::{ModelConfig, Tokenizer, TokenizerKind};
    use rand::SeedableRng;

    #[test]
    fn a_request_stands_in_the_turn_that_the_codec_names() {
        let schema = ObjectiveSchema::new(vec![Objective::with_scale("wit", 1, 2)]).unwrap();
        let items = ["<wit:1>".into(), "<wit:2>".into()];
        let tokenizer =
            Tokenizer::train(TokenizerKind::Word, ["its food is plum ."].into_iter(), &items).unwrap();
        let config = ModelConfig::small(tokenizer.vocab_size(), 8, 8, 1, 2);
        let model = CausalLm::new(&config, &mut rand::rngs::ChaCha8Rng::seed_from_u64(0), &Device::default());
        let lm = ModelFolder::new(config, tokenizer, model);
        let request = Request::parse("wit=2", &schema).unwrap();
        for (turn, template, expected, refuses_items) in [
            (Turn::User, "{prompt} {request}", ["<s>", "its", "food", "<wit:2>", "<answer>"], true),
            (Turn::User, "{request} {prompt}", ["<s>", "<wit:2>", "its", "food", "<answer>"], false),
            (Turn::System, "{prompt} {request}", ["<s>", "<wit:2>", "its", "food", "<answer>"], false),
        ] {
            let codec =
                PromptCodecConfig { template: template.into(), turn, ..PromptCodecConfig::one_token() };
            let policy = PolicyFolder::new(lm.clone(), schema.clone(), codec).unwrap();
            let id = |token: &str| lm.tokenizer.token_id(token).unwrap();
            assert_eq!(policy.encode(&"its food".into(), &request).unwrap(), expected.map(id));
            let plain = policy.encode(&"its food".into(), &Request::free(&schema)).unwrap();
            assert_eq!(plain, lm.tokenizer.encode_prompt("its food").unwrap());
            // Where it would be read as the request, an item in a question is refused.
            let with_item = policy.encode(&"its food <wit:1>".into(), &Request::free(&schema));
            assert_eq!(with_item.is_err(), refuses_items);
        }

        // After a conversation, in the last question; or in what the model was told before it.
        let turn = |role: &str, content: &str| SpokenTurn::new(role, content);
        let before = vec![turn("system", "is"), turn("user", "its"), turn("assistant", "food")];
        let prompt = Prompt { before, question: "plum".into() };
        for (turn, expected) in [
            (Turn::User, "<s> is its <answer> food </s> plum <wit:2> <answer>"),
            (Turn::System, "<s> is <wit:2> its <answer> food </s> plum <answer>"),
        ] {
            let codec = PromptCodecConfig { turn, ..PromptCodecConfig::one_token() };
            let policy = PolicyFolder::new(lm.clone(), schema.clone(), codec).unwrap();
            let expected: Vec<u32> =
                expected.split(' ').map(|token| lm.tokenizer.token_id(token).unwrap()).collect();
            assert_eq!(policy.encode(&prompt, &request).unwrap(), expected);
        }
    }
}
