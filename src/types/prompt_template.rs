//! Templates of prompts in the language of Go's templates, as far as Ollama's templates for single prompts use it:
//! `.System`, `.Prompt`, `.Suffix`, `.Response`, and `if` with `else`.

/// Maximum number of times that a template may use a variable: a long prompt must not become many times as long.
const MAX_USES: usize = 4;

/// A template that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptTemplate(Vec<Node>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Value(Variable),
    If { condition: Variable, then: Vec<Self>, otherwise: Vec<Self> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    System,
    Prompt,
    Suffix,
    Response,
}

/// Values of the variables; an absent one is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemplateValues<'a> {
    pub system: &'a str,
    pub prompt: &'a str,
    pub suffix: &'a str,
}

impl TemplateValues<'_> {
    fn of(&self, variable: Variable) -> &str {
        match variable {
            Variable::System => self.system,
            Variable::Prompt => self.prompt,
            Variable::Suffix => self.suffix,
            Variable::Response => "",
        }
    }
}

impl PromptTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What it has that is not supported, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        for variable in [Variable::System, Variable::Prompt, Variable::Suffix] {
            let uses = |token: &&Token| matches!(token, Token::Value(used) if *used == variable);
            if tokens.iter().filter(uses).count() > MAX_USES {
                return Err(format!("may use each variable at most {MAX_USES} times"));
            }
        }
        let mut tokens = tokens.into_iter();
        let (nodes, end) = nodes(&mut tokens)?;
        match end {
            None => Ok(Self(nodes)),
            Some(_) => Err("has an end or else without an if".to_owned()),
        }
    }

    /// Returns the prompt up to where the response begins.
    pub fn render(&self, values: TemplateValues<'_>) -> String {
        let mut out = String::new();
        render(&self.0, values, &mut out);
        out
    }
}

/// Appends nodes; false when the response begins.
fn render(nodes: &[Node], values: TemplateValues<'_>, out: &mut String) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(text) => {
            out.push_str(text);
            true
        }
        Node::Value(Variable::Response) => false,
        Node::Value(variable) => {
            out.push_str(values.of(*variable));
            true
        }
        Node::If { condition, then, otherwise } => {
            let branch = if values.of(*condition).is_empty() { otherwise } else { then };
            render(branch, values, out)
        }
    })
}

enum Token {
    Text(String),
    Value(Variable),
    If(Variable),
    Else,
    End,
}

/// Splits a template; blanks beside `{{-` and `-}}` are removed.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest, mut trims) = (Vec::new(), text, false);
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or("has an action without an end")?;
        let opens = action.strip_prefix('-');
        let before = if trims { before.trim_start() } else { before };
        let before = if opens.is_some() { before.trim_end() } else { before };
        tokens.push(Token::Text(before.to_owned()));
        let action = opens.unwrap_or(action);
        trims = action.ends_with('-');
        tokens.extend(read(action.strip_suffix('-').unwrap_or(action).trim())?);
        rest = after;
    }
    tokens.push(Token::Text(if trims { rest.trim_start() } else { rest }.to_owned()));
    Ok(tokens)
}

/// Reads an action; none for a comment.
fn read(action: &str) -> Result<Option<Token>, String> {
    let variable = |name: &str| match name {
        ".System" => Ok(Variable::System),
        ".Prompt" => Ok(Variable::Prompt),
        ".Suffix" => Ok(Variable::Suffix),
        ".Response" => Ok(Variable::Response),
        _ => Err("may only use .System, .Prompt, .Suffix and .Response, and if with else".to_owned()),
    };
    let words: Vec<&str> = action.split_whitespace().collect();
    Ok(Some(match words[..] {
        ["end"] => Token::End,
        ["else"] => Token::Else,
        ["if", name] => Token::If(variable(name)?),
        [name] => Token::Value(variable(name)?),
        _ if action.starts_with("/*") && action.ends_with("*/") => return Ok(None),
        _ => Token::Value(variable(action)?),
    }))
}

/// Reads nodes up to the end, or to an `else` or `end`, which is returned.
fn nodes(tokens: &mut std::vec::IntoIter<Token>) -> Result<(Vec<Node>, Option<Token>), String> {
    let mut nodes = Vec::new();
    while let Some(token) = tokens.next() {
        nodes.push(match token {
            Token::Text(text) => Node::Text(text),
            Token::Value(variable) => Node::Value(variable),
            end @ (Token::Else | Token::End) => return Ok((nodes, Some(end))),
            Token::If(condition) => {
                let unclosed = || "has an if without an end".to_owned();
                let (then, end) = self::nodes(tokens)?;
                let otherwise = match end.ok_or_else(unclosed)? {
                    Token::Else => {
                        let (otherwise, end) = self::nodes(tokens)?;
                        match end.ok_or_else(unclosed)? {
                            Token::End => otherwise,
                            _ => return Err("has two else for one if".to_owned()),
                        }
                    }
                    _ => Vec::new(),
                };
                Node::If { condition, then, otherwise }
            }
        });
    }
    Ok((nodes, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, values: TemplateValues<'_>) -> String {
        PromptTemplate::parse(template).expect(template).render(values)
    }

    #[test]
    fn templates_of_single_prompts_are_rendered_up_to_the_response() {
        let all = TemplateValues { system: "S", prompt: "P", suffix: "X" };
        let alone = TemplateValues { prompt: "P", ..TemplateValues::default() };
        let chatml = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>";
        for (template, values, prompt) in [
            ("{{ .Prompt }}", all, "P"),
            ("", all, ""),
            (chatml, alone, "<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n"),
            (
                chatml,
                all,
                "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n",
            ),
            (
                "[INST] {{- if .System }} {{ .System }} {{- end }} {{ .Prompt }} [/INST]",
                all,
                "[INST] S P [/INST]",
            ),
            (
                "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}",
                all,
                "<PRE>P<SUF>X<MID>",
            ),
            ("{{ if .Suffix }}a{{ else }}b {{- end -}}  c", alone, "bc"),
            (
                "{{/* says nothing */}}{{.Prompt}}{{if .System}}{{if .Response}}r{{else}}s{{end}}{{end}}",
                all,
                "Ps",
            ),
        ] {
            assert_eq!(rendered(template, values), prompt, "{template}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for template in [
            "{{ range .Messages }}{{ .Content }}{{ end }}",
            "{{ .Tools }}",
            "{{ if and .System .Prompt }}a{{ end }}",
            "{{ if eq .Role \"user\" }}a{{ end }}",
            "{{ $x := 1 }}",
            "{{ .Prompt",
            "{{ if .Prompt }}",
            "{{ if .Prompt }}a{{ else }}b",
            "{{ if .Prompt }}a{{ else }}b{{ else }}c{{ end }}",
            "{{ end }}",
            "{{ }}",
            &"{{ .Prompt }}".repeat(5),
        ] {
            assert!(PromptTemplate::parse(template).is_err(), "{template}");
        }
    }
}
