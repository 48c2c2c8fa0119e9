//! What is answered: a question, or a conversation that waits for an answer.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rows::RowValue;

/// A question, or a conversation whose last turn is one.
///
/// Files write it as a text, or as a list of turns with `role` and `content`.
///
/// ```
/// use moslim_data::{Prompt, SpokenTurn};
///
/// let alone = Prompt::from("Why is the sky blue?");
/// assert_eq!(alone.text(), "Why is the sky blue?");
///
/// let before = vec![SpokenTurn::new("user", "Hello."), SpokenTurn::new("assistant", "Hello!")];
/// let prompt = Prompt { before, question: "Why is the sky blue?".into() };
/// assert_eq!(prompt.text(), "Human: Hello.\n\nAssistant: Hello!\n\nHuman: Why is the sky blue?");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PromptForm", into = "PromptForm")]
pub struct Prompt {
    /// What was said before, from the first turn on.
    pub before: Vec<SpokenTurn>,
    /// What the user says now.
    pub question: String,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpokenTurn {
    /// Who speaks: `system`, `user`, `assistant`, or what else a data set has.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl SpokenTurn {
    /// A turn; the names that data sets have for users and assistants become these.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        let role = role.to_ascii_lowercase();
        let role = match role.as_str() {
            "human" | "prompter" => "user".into(),
            "gpt" | "model" | "chatbot" | "bot" => "assistant".into(),
            _ => role,
        };
        Self { role, content: content.into() }
    }
}

impl Prompt {
    /// The prompt as one text: a question as it is, a conversation as `Human: …` and `Assistant: …`.
    pub fn text(&self) -> Cow<'_, str> {
        if self.before.is_empty() {
            return Cow::Borrowed(&self.question);
        }
        let turns = self.before.iter().map(|turn| (turn.role.as_str(), turn.content.as_str()));
        let named =
            turns.chain([("user", self.question.as_str())]).map(|(role, content)| spoken(role, content));
        Cow::Owned(named.collect::<Vec<_>>().join("\n\n"))
    }

    /// A conversation that ends in a turn of the user; who speaks last otherwise.
    pub(crate) fn of_turns(mut turns: Vec<SpokenTurn>) -> Result<Self, String> {
        match turns.pop() {
            Some(last) if last.role == "user" => Ok(Self { before: turns, question: last.content }),
            Some(last) => Err(last.role),
            None => Err("nobody".into()),
        }
    }

    /// What two conversations begin with, up to a turn of the user, and how each goes on; `None` if there is no such turn.
    pub(crate) fn shared(one: Vec<SpokenTurn>, other: Vec<SpokenTurn>) -> Option<(Self, String, String)> {
        let n_equal = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        // An answer follows, be it an empty one.
        let n_shared = n_equal.min(one.len().saturating_sub(1)).min(other.len().saturating_sub(1));
        let n_shared = one[..n_shared].iter().rposition(|turn| turn.role == "user")? + 1;
        let (prompt, one) = one.split_at(n_shared);
        // What follows is an answer, and not the user's next question.
        let answers = |turns: &[SpokenTurn]| turns.first().is_none_or(|first| first.role != "user");
        if (n_shared < n_equal && *one != other[n_shared..]) || !answers(one) || !answers(&other[n_shared..])
        {
            return None;
        }
        let prompt = Self::of_turns(prompt.to_vec()).ok()?;
        Some((prompt, continuation(one), continuation(&other[n_shared..])))
    }

    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.question.trim().is_empty()
    }
}

impl From<&str> for Prompt {
    fn from(question: &str) -> Self {
        question.to_owned().into()
    }
}

impl From<String> for Prompt {
    fn from(question: String) -> Self {
        Self { before: vec![], question }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// A turn as text.
fn spoken(role: &str, content: &str) -> String {
    let speaker = match role {
        "user" => "Human",
        "assistant" => "Assistant",
        "system" => "System",
        other => other,
    };
    format!("{speaker}: {content}")
}

/// An answer as one text: a turn as it is; what was said after it, as some answers make up themselves, as `Human: …`.
pub(crate) fn continuation(turns: &[SpokenTurn]) -> String {
    let Some((first, rest)) = turns.split_first() else { return String::new() };
    let rest = rest.iter().map(|turn| spoken(&turn.role, &turn.content));
    [first.content.clone()].into_iter().chain(rest).collect::<Vec<_>>().join("\n\n")
}

/// A prompt as files write it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PromptForm {
    Text(String),
    Turns(Vec<SpokenTurn>),
}

impl TryFrom<PromptForm> for Prompt {
    type Error = String;

    fn try_from(form: PromptForm) -> Result<Self, String> {
        match form {
            PromptForm::Text(text) => Ok(text.into()),
            PromptForm::Turns(turns) => Self::of_turns(turns)
                .map_err(|role| format!("the last turn is the {role}'s, expected the user's")),
        }
    }
}

impl From<Prompt> for PromptForm {
    fn from(Prompt { mut before, question }: Prompt) -> Self {
        if before.is_empty() {
            return Self::Text(question);
        }
        before.push(SpokenTurn::new("user", question));
        Self::Turns(before)
    }
}

/// The turns of a list of objects with `role` and `content`, or `from` and `value`, or of plain texts that take turns.
pub(crate) fn turns_of(value: &RowValue<'_>) -> Option<Vec<SpokenTurn>> {
    fn text<'t>(turn: &'t RowValue<'_>, key: &str) -> Option<&'t str> {
        turn.as_object()?.get(key)?.as_str()
    }
    let turns = value.as_array()?.iter().enumerate();
    turns
        .map(|(index, turn)| match turn {
            RowValue::Str(content) => {
                Some(SpokenTurn::new(if index % 2 == 0 { "user" } else { "assistant" }, content.as_ref()))
            }
            turn => Some(SpokenTurn::new(
                text(turn, "role").or_else(|| text(turn, "from"))?,
                text(turn, "content").or_else(|| text(turn, "value"))?,
            )),
        })
        .collect()
}

/// The turns of a text in which markers say who speaks; what stands before the first marker is nobody's.
pub(crate) fn turns_in(text: &str, user: &str, assistant: &str) -> Vec<SpokenTurn> {
    let mut turns: Vec<SpokenTurn> = Vec::new();
    let mut rest = text;
    let mut speaker: Option<&str> = None;
    loop {
        let next = [("user", user), ("assistant", assistant)]
            .into_iter()
            .filter_map(|(role, marker)| Some((rest.find(marker)?, role, marker)))
            .min_by_key(|(at, ..)| *at);
        let said = rest[..next.map_or(rest.len(), |(at, ..)| at)].trim();
        if let Some(role) = speaker {
            turns.push(SpokenTurn::new(role, said));
        }
        let Some((at, role, marker)) = next else { return turns };
        speaker = Some(role);
        rest = &rest[at + marker.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_text_or_a_list_of_turns() {
        let alone = Prompt::from("q");
        assert_eq!(serde_json::to_string(&alone).unwrap(), "\"q\"");
        let json = r#"[{"role":"system","content":"s"},{"role":"user","content":"q"}]"#;
        let prompt: Prompt = serde_json::from_str(json).unwrap();
        assert_eq!(prompt, Prompt { before: vec![SpokenTurn::new("system", "s")], question: "q".into() });
        assert_eq!(serde_json::to_string(&prompt).unwrap(), json);
        assert_eq!(prompt.text(), "System: s\n\nHuman: q");
        let wrong = serde_json::from_str::<Prompt>(r#"[{"role":"assistant","content":"a"}]"#).unwrap_err();
        assert_eq!(wrong.to_string(), "the last turn is the assistant's, expected the user's");
    }

    #[test]
    fn markers_divide_a_text_into_turns() {
        let turns = |text| turns_in(text, "\n\nHuman:", "\n\nAssistant:");
        let text = "\n\nHuman: a\n\nwith\n\nAssistant:b\n\nHuman:\n\nAssistant: \n";
        let expected = [("user", "a\n\nwith"), ("assistant", "b"), ("user", ""), ("assistant", "")];
        assert_eq!(turns(text), expected.map(|(role, content)| SpokenTurn::new(role, content)));
        assert_eq!(turns("no marker"), []);
    }
}
