//! Chat templates: Jinja, as Hugging Face folders carry them.

use std::io::Write;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Value, context};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{LmError, SpecialTokens};

/// The name under which the one template of an environment is kept.
const NAME: &str = "chat_template";

/// Steps after which a template is stopped.
const FUEL: u64 = 10_000_000;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What the model is told before a conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".into(), content: content.into() }
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }
}

/// A compiled chat template together with its source.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
}

impl ChatTemplate {
    /// Turns of the user between the begin token and a token that opens the answer; a system turn is a line of its own.
    pub const PLAIN: &'static str = "{{ bos_token }}{% for message in messages %}\
        {% if message.role == 'assistant' %}{{ message.content }}{{ eos_token }}\
        {% elif message.role == 'system' %}{{ message.content + '\\n' }}\
        {% else %}{{ message.content }}<answer>{% endif %}{% endfor %}";

    /// Compiles a template.
    ///
    /// What transformers offers to templates is there: whitespace control as in its settings, loop controls, methods of
    /// Python's strings, lists and dictionaries, `tojson`, `raise_exception`, `strftime_now` and `{% generation %}`.
    /// Steps and the length of what is written are limited; a text that a template doubles again and again only by the
    /// steps that takes, not by memory.
    ///
    /// # Errors
    /// If the template is malformed.
    pub fn new(source: impl Into<String>) -> Result<Self, LmError> {
        let source = source.into();
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_filter("string", |value: Value| {
            let mut text = Limited::default();
            match write!(text, "{value}") {
                Ok(()) => text.into_value(),
                Err(error) => Err(failed(&error)),
            }
        });
        environment.add_function("strftime_now", |format: &str| {
            jiff::fmt::strtime::format(format, &jiff::Zoned::now())
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.add_function("raise_exception", |message: String| -> Result<(), Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, without_generation(&source))?;
        Ok(Self { environment, source })
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation, with the opening of an answer after it if one is to be written.
    ///
    /// # Errors
    /// If the template fails or refuses the conversation.
    pub fn render(
        &self,
        messages: &[Message],
        special: &SpecialTokens,
        add_generation_prompt: bool,
    ) -> Result<String, LmError> {
        let token = |token: &Option<String>| token.clone().map_or(Value::UNDEFINED, Value::from);
        let context = context! {
            messages => Value::from(Serde(messages)),
            bos_token => special.bos_token.as_deref().unwrap_or_default(),
            eos_token => special.eos_token.as_str(),
            unk_token => token(&special.unk_token),
            pad_token => token(&special.pad_token),
            add_generation_prompt,
            // Nothing of either is offered; templates ask whether they are none.
            tools => (),
            documents => (),
        };
        let mut text = Limited::default();
        self.environment.get_template(NAME)?.render_captured_to(context, &mut text)?;
        Ok(text.into_text()?)
    }
}

/// The source with blocks that change nothing for `{% generation %}` and `{% endgeneration %}`, which mark what the model
/// says; here that is known without marks.
///
/// The whitespace control of both sides stays.
fn without_generation(source: &str) -> String {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the pattern is well-formed")
    });
    TAG.replace_all(source, |found: &regex::Captures<'_>| {
        let tag = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{}{tag}{}%}}", &found[1], &found[3])
    })
    .into_owned()
}

/// `tojson` as transformers has it: Python's separators and no escapes for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // JSON is written as it is here; keys stay in their order.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Limited::default();
    let written = match indent.filter(|&indent| indent <= 16) {
        Some(indent) => {
            let indent = vec![b' '; indent];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonStyle)),
    };
    written.map_err(|error| failed(&error))?;
    bytes.into_value()
}

/// The longest text that a template may make, in bytes; parts that values share would make it endless.
const LONGEST: usize = 16 << 20;

/// Text as it is written, up to [`LONGEST`].
#[derive(Default)]
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(std::io::Error::other(format!("a text of more than {LONGEST} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Limited {
    fn into_text(self) -> Result<String, Error> {
        String::from_utf8(self.0).map_err(|error| failed(&error))
    }

    fn into_value(self) -> Result<Value, Error> {
        self.into_text().map(Value::from_safe_string)
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

/// `, ` between items and `: ` after keys, on one line.
struct PythonStyle;

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, LmError> {
        let special = SpecialTokens {
            bos_token: Some("<s>".into()),
            eos_token: "</s>".into(),
            unk_token: Some("<unk>".into()),
            pad_token: None,
        };
        ChatTemplate::new(source)?.render(messages, &special, true)
    }

    fn text(source: &str) -> String {
        render(source, &[Message::user(" a<b ")]).unwrap()
    }

    #[test]
    fn the_plain_template_opens_an_answer() {
        assert_eq!(text(ChatTemplate::PLAIN), "<s> a<b <answer>");
    }

    #[test]
    fn templates_have_what_transformers_gives_them() {
        assert_eq!(text("{{ messages[0].content.strip() }}"), "a<b");
        assert_eq!(text("{{ messages | tojson }}"), r#"[{"role": "user", "content": " a<b "}]"#);
        assert_eq!(text("{{ {'a': [1, 2]} | tojson(indent=2) }}"), "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
        assert_eq!(text("{{ strftime_now('%Y') | length }}"), "4");
        assert_eq!(
            text("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "012"
        );
        // A block tag takes the blanks before it and the line end after it.
        assert_eq!(text("a\n  {% if true %}\nb\n  {% endif %}\nc"), "a\nb\nc");
        assert_eq!(
            text("{% if add_generation_prompt %}{{ bos_token }}{{ eos_token }}{% endif %}"),
            "<s></s>"
        );
        assert_eq!(text("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}"), "1");
    }

    #[test]
    fn marks_of_what_the_model_says_leave_no_trace() {
        let source = "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}\n  {%- generation -%}\n  \
                      {{ m.content }}{{ eos_token }}{% endgeneration %}\n{% else %}{{ m.content }}{% endif %}{% endfor %}";
        let messages =
            [Message::user("é"), Message::assistant("yes"), Message::user("b"), Message::assistant("no")];
        let text = render(source, &messages).unwrap();
        assert_eq!(text, "[user]é[assistant]yes</s>[user]b[assistant]no</s>");
    }

    #[test]
    fn a_template_may_refuse_and_cannot_run_away() {
        let message = |source: &str| render(source, &[Message::user("a")]).unwrap_err().to_string();
        assert!(message("{{ raise_exception('no ' + messages[0].role) }}").contains("no user"));
        assert!(message("{{ strftime_now('%') }}").contains("chat template"));
        assert!(message("{% if %}").contains("chat template"));
        let endless = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}";
        assert!(message(endless).contains("fuel"), "{}", message(endless));
        // Lists that share their parts are small until they are written.
        let shared = "{% set ns = namespace(l=['aaaaaaaaaa']) %}\
            {% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
        for written in ["{{ ns.l|tojson|length }}", "{{ ns.l|string|length }}", "{{ ns.l }}"] {
            let message = message(&format!("{shared}{written}"));
            assert!(message.contains("chat template"), "{message}");
        }
    }

    #[test]
    fn what_is_not_offered_is_none() {
        let source = "{% if tools is not none or documents is not none %}tools{% endif %}\
            {{ messages[0].content|tojson(ensure_ascii=False) }}";
        assert_eq!(render(source, &[Message::user("é")]).unwrap(), r#""é""#);
        assert_eq!(text("{{ unk_token }}{% if pad_token is defined %}padding{% endif %}"), "<unk>");
    }
}
