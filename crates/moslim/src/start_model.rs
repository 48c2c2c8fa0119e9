//! The shape and the tokenizer of the model that a run starts from, before any weights.

use std::path::{Path, PathBuf};

use moslim_data::{Prompt, PromptCodec};
use moslim_lm::{ModelConfig, TokenIds, Tokenizer, TokenizerKind};

use crate::comparison::prompt_words;
use crate::{Datasets, Error, ModelRecipe, Recipe, model_folder};

/// The plain texts that a recipe reads first, with their files.
pub(crate) fn plain_texts(recipe: &Recipe) -> Result<Vec<(PathBuf, String)>, Error> {
    let files = recipe.pretraining.iter().flat_map(|pretraining| &pretraining.files);
    files.map(|path| Ok((path.clone(), std::fs::read_to_string(path).map_err(Error::io(path))?))).collect()
}

/// Reads the shape and the tokenizer of a recipe's folder, or trains a tokenizer and makes a shape for it;
/// `place` stands in errors about the shape.
pub(crate) fn shape_and_tokenizer(
    recipe: &Recipe,
    datasets: &Datasets,
    texts: &[(PathBuf, String)],
    place: &Path,
) -> Result<(ModelConfig, Tokenizer), Error> {
    match &recipe.model {
        ModelRecipe::Folder { path, .. } => {
            let folder = model_folder(path)?;
            Ok((ModelConfig::read(&folder.join("config.json"))?, Tokenizer::read(&folder)?))
        }
        ModelRecipe::New {
            tokenizer,
            request_tokens,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            tie_word_embeddings,
        } => {
            let codec = PromptCodec::new(recipe.codec.clone(), &datasets.schema)?;
            // A tokenizer of words must have seen those of all prompts; others can spell them.
            let words = match tokenizer {
                TokenizerKind::Word => prompt_words(recipe, &datasets.schema).join(" "),
                TokenizerKind::Bpe { .. } => String::new(),
            };
            let of_exchange = |(prompt, answer)| {
                let (prompt, answer): (&Prompt, &String) = (prompt, answer);
                let before = prompt.before.iter().map(|turn| turn.content.as_str());
                before.chain([prompt.question.as_str(), answer.as_str()])
            };
            let said = datasets.sft.iter().flat_map(|(prompt, answer)| of_exchange((prompt, answer)));
            let read = texts.iter().map(|(_, text)| text.as_str()).chain([words.as_str()]);
            let corpus: Vec<&str> = said.chain(read).collect();
            let items = match (request_tokens, recipe.policy.requests.fractional > 0.0) {
                (false, _) => vec![],
                (true, false) => codec.items(),
                (true, true) => [codec.items(), codec.items_between()].concat(),
            };
            let mut whole_tokens: Vec<String> =
                items.iter().flat_map(|item| item.split_whitespace().map(String::from)).collect();
            whole_tokens.sort();
            whole_tokens.dedup();
            let tokenizer = Tokenizer::train(*tokenizer, corpus.into_iter(), &whole_tokens)?;
            let config = ModelConfig {
                num_key_value_heads: Some(*num_key_value_heads),
                tie_word_embeddings: *tie_word_embeddings,
                bos_token_id: tokenizer.bos(),
                eos_token_id: Some(TokenIds::One(tokenizer.eos())),
                pad_token_id: Some(tokenizer.pad()),
                ..ModelConfig::small(
                    tokenizer.vocab_size(),
                    *hidden_size,
                    *intermediate_size,
                    *num_hidden_layers,
                    *num_attention_heads,
                )
            };
            config.check(place)?;
            Ok((config, tokenizer))
        }
    }
}
