//! Conversations as lists of turns, in the forms that data sets have.

use crate::rows::RowValue;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpokenTurn {
    /// Who speaks, such as `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// The turns of a list of objects with `role` and `content`, or `from` and `value`, or of plain texts that take turns.
pub(crate) fn turns_of(value: &RowValue<'_>) -> Option<Vec<SpokenTurn>> {
    let text = |turn: &RowValue<'_>, key: &str| Some(turn.as_object()?.get(key)?.as_str()?.to_owned());
    let turns = value.as_array()?.iter().enumerate();
    turns
        .map(|(index, turn)| match turn {
            RowValue::Str(content) => {
                let role = if index % 2 == 0 { "user" } else { "assistant" };
                Some(SpokenTurn { role: role.into(), content: content.to_string() })
            }
            turn => Some(SpokenTurn {
                role: text(turn, "role").or_else(|| text(turn, "from"))?,
                content: text(turn, "content").or_else(|| text(turn, "value"))?,
            }),
        })
        .collect()
}

/// A conversation as one text: a single turn as it is, several as `Human: …` and `Assistant: …`.
pub(crate) fn as_text(turns: &[SpokenTurn]) -> String {
    if let [turn] = turns {
        return turn.content.clone();
    }
    let named = turns.iter().map(|SpokenTurn { role, content }| {
        let speaker = match role.to_ascii_lowercase().as_str() {
            "user" | "human" | "prompter" => "Human",
            "assistant" | "gpt" | "chatbot" | "bot" => "Assistant",
            "system" => "System",
            _ => return format!("{role}: {content}"),
        };
        format!("{speaker}: {content}")
    });
    named.collect::<Vec<_>>().join("\n\n")
}
