//! Chat templates of llama.cpp that stand in for Ollama's, which are in the language of Go and which the engine cannot
//! read. They count for a GGUF file that has no template of its own.

/// llama.cpp's built-in templates (`src/llama-chat.cpp`) by the marks that are all in a template for the same models.
/// The first that matches counts.
const BUILT_IN: [(&[&str], &str); 22] = [
    (&["<|im_start|>", "<|im_sep|>"], "phi4"),
    (&["<|im_start|>"], "chatml"),
    (&["<|start_header_id|>", "<|end_header_id|>"], "llama3"),
    (&["<|header_start|>", "<|header_end|>"], "llama4"),
    (&["<start_of_turn>"], "gemma"),
    (&["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"], "command-r"),
    (&["<｜User｜>", "<｜Assistant｜>"], "deepseek3"),
    (&["[gMASK]<sop>"], "chatglm4"),
    (&["[|assistant|]", "[|endofturn|]"], "exaone3"),
    (&["<|start_of_role|>"], "granite"),
    (&["[INST]", "[SYSTEM_PROMPT]"], "mistral-v7"),
    (&["[INST]", "[AVAILABLE_TOOLS]"], "mistral-v3"),
    (&["[INST]", "<<SYS>>"], "llama2-sys"),
    (&["[INST]"], "llama2"),
    (&["<|assistant|>", "<|end|>"], "phi3"),
    (&["<|user|>", "<|endoftext|>"], "zephyr"),
    (&["<|user|>", "<|assistant|>"], "falcon3"),
    (&["GPT4 Correct "], "openchat"),
    (&["USER:", "ASSISTANT:", "SYSTEM:"], "vicuna-orca"),
    (&["USER:", "ASSISTANT:"], "vicuna"),
    (&["### Instruction:", "<|EOT|>"], "deepseek"),
    (&["User: ", "Assistant:"], "deepseek2"),
];

/// Name of llama.cpp's template for the models that this one of Ollama's is for.
pub(super) fn built_in(template: &str) -> Option<&'static str> {
    let matches = |marks: &[&str]| marks.iter().all(|mark| template.contains(mark));
    BUILT_IN.iter().find(|(marks, _)| matches(marks)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::built_in;

    #[test]
    fn templates_of_ollamas_library_have_a_counterpart() {
        for (template, name) in [
            ("{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}", Some("chatml")),
            ("<|im_start|>user<|im_sep|>{{ .Prompt }}<|im_end|>", Some("phi4")),
            ("<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>", Some("llama3")),
            ("<start_of_turn>user\n{{ .Prompt }}<end_of_turn>\n<start_of_turn>model\n", Some("gemma")),
            ("[INST] <<SYS>>{{ .System }}<</SYS>>\n\n{{ .Prompt }} [/INST]", Some("llama2-sys")),
            ("[INST] {{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} [/INST]", Some("llama2")),
            (
                "[AVAILABLE_TOOLS] {{ .Tools }}[/AVAILABLE_TOOLS][INST] {{ .Content }}[/INST]",
                Some("mistral-v3"),
            ),
            ("<|user|>\n{{ .Prompt }}<|end|>\n<|assistant|>\n{{ .Response }}<|end|>", Some("phi3")),
            ("{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ", Some("vicuna")),
            ("<｜User｜>{{ .Prompt }}<｜Assistant｜>{{ .Response }}", Some("deepseek3")),
            ("{{ .Prompt }}", None),
            ("", None),
        ] {
            assert_eq!(built_in(template), name, "{template}");
        }
    }
}
