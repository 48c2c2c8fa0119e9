//! Chat templates: Jinja, as Hugging Face folders carry them.

use minijinja::{Environment, context};

use crate::LmError;

/// The name under which the one template of an environment is kept.
const NAME: &str = "chat_template";

/// A compiled chat template together with its source.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
}

impl ChatTemplate {
    /// Turns of the user between the begin token and a token that opens the answer.
    pub const PLAIN: &'static str = "{{ bos_token }}{% for message in messages %}\
        {% if message.role == 'assistant' %}{{ message.content }}{{ eos_token }}\
        {% else %}{{ message.content }}<answer>{% endif %}{% endfor %}";

    /// Compiles a template.
    ///
    /// # Errors
    /// If the template is malformed.
    pub fn new(source: impl Into<String>) -> Result<Self, LmError> {
        let source = source.into();
        let mut environment = Environment::new();
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<(), minijinja::Error> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source.clone())?;
        Ok(Self { environment, source })
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation of one user turn, up to where the answer begins.
    ///
    /// # Errors
    /// If the template fails or refuses the conversation.
    pub fn render_prompt(&self, user: &str, bos_token: &str, eos_token: &str) -> Result<String, LmError> {
        let messages = [context! { role => "user", content => user }];
        let context = context! { messages, bos_token, eos_token, add_generation_prompt => true };
        Ok(self.environment.get_template(NAME)?.render(context)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_template_opens_an_answer() {
        let template = ChatTemplate::new(ChatTemplate::PLAIN).unwrap();
        assert_eq!(template.render_prompt("who?", "<s>", "</s>").unwrap(), "<s>who?<answer>");
    }

    #[test]
    fn a_template_may_refuse_and_may_use_python_methods() {
        let template = ChatTemplate::new("{{ raise_exception('no ' + messages[0].role) }}").unwrap();
        assert!(template.render_prompt("", "", "").unwrap_err().to_string().contains("no user"));
        let template = ChatTemplate::new("{{ messages[0].content.strip() }}").unwrap();
        assert_eq!(template.render_prompt(" a ", "", "").unwrap(), "a");
        assert!(ChatTemplate::new("{% if %}").is_err());
    }
}
