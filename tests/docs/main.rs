//! The commands of README.md, CONTRIBUTING.md and docs/ do what is printed there: each is run in a
//! shell as it stands, and what it prints is compared, where `…` stands for what differs from time to
//! time. A command that is neither run nor on the list of those that cannot be fails.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod links;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
mod pages;
#[path = "../../testing/real_models.rs"]
mod real_models;
mod shell;

use std::fs;

use pages::{Command, blocks, inline_commands, is_command, pages};
use shell::Terminal;

/// Commands that are not run, by their beginnings, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make ", "builds, installs or tests for minutes; that the target exists is checked"),
    ("cargo ", "as make"),
    ("sudo ", "installs packages; `make dist-test` does so in a system of its own"),
    ("docker ", "there is no Docker where tests run; `make check` checks the compose file"),
    (
        "simpleton model pull",
        "downloads gigabytes from the internet; tests/pull/ pulls from a registry of its own",
    ),
    ("simpleton model import qwen2.5:7b ", "a file of gigabytes that the reader has"),
    ("simpleton model import ", "a file that the reader has"),
    ("simpleton serve", "runs until it is stopped; the start in README.md is run and compared"),
    ("simpleton run qwen2.5:7b", "a chat with a model of gigabytes"),
    ("simpleton run llava", "as that one"),
    ("simpleton engine install", "builds for minutes"),
    ("ollama ", "another program's"),
];

/// Languages of fenced blocks besides `console`.
const KINDS: [&str; 5] = ["text", "json", "python", "yaml", "toml"];

/// Variables that are set for the command make no difference.
fn is_run(command: &Command) -> bool {
    let mut text = command.text.as_str();
    while let Some((_, rest)) = text.split_once(' ').filter(|(word, _)| pages::is_assignment(word)) {
        text = rest.trim_start();
    }
    !NOT_RUN.iter().any(|(start, _)| text.starts_with(start))
}

/// Whether a text is what was expected: without regard to spaces and ends of lines, which pages have
/// where they read well, and with anything at each `…`.
fn fits(expected: &str, text: &str) -> bool {
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let (expected, text) = (dense(expected), dense(text));
    let mut parts = expected.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn every_command_does_what_is_printed() {
    let mut terminal = Terminal::open();
    let readme = fs::read_to_string("README.md").unwrap();
    let start = blocks("README.md", &readme).into_iter().find(|block| block.kind == "text").unwrap();
    let printed = terminal.as_printed(&terminal.printed);
    assert!(fits(&start.lines.join("\n"), &printed), "{}\n{printed}", start.place);
    let paste = terminal.printed.split_once("try ").unwrap().1.trim().to_owned();
    let reply = terminal.run(&paste);
    assert!(reply.contains("\"done\":true"), "{paste}\n{reply}");
    // README.md asks the same, and an answer that is known has other figures.
    let key = "$(cat ~/.local/share/simpleton/api-key)";
    terminal.run(&format!("curl -s -X DELETE localhost:8000/analytics/cache -H \"X-API-Key: {key}\""));

    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for block in blocks(&page, &text).iter().filter(|block| block.kind == "console") {
            for command in block.commands().iter().filter(|command| is_run(command)) {
                let printed = terminal.run(&command.text);
                if !fits(&command.output, &printed) {
                    wrong.push(format!("{}\n$ {}\nprints\n{printed}", command.place, command.text));
                }
            }
        }
        for command in inline_commands(&page, &text).iter().filter(|command| is_run(command)) {
            terminal.run(&command.text);
        }
    }
    a_photograph_goes_the_same_way(&mut terminal, &readme);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The samples are tiny; what readers have is not.
fn a_photograph_goes_the_same_way(terminal: &mut Terminal, readme: &str) {
    let (width, height) = (1200, 900);
    let path = terminal.home.path().join("photo.png");
    let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut noise = 1_u32;
    let pixels = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    let pixels: Vec<u8> = pixels.take((width * height * 3) as usize).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    assert!(path.metadata().unwrap().len() > 2_000_000);
    let commands = blocks("README.md", readme).into_iter().filter(|block| block.kind == "console");
    let commands: Vec<Command> = commands.flat_map(|block| block.commands()).collect();
    let of_images = commands.iter().filter(|command| command.text.contains("/samples/"));
    let mut seen = 0;
    for command in of_images {
        let (before, sample) = command.text.split_once("models/demo/samples/").unwrap();
        let (_, after) = sample.split_once(".png").unwrap();
        let reply = terminal.run(&format!("{before}{}{after}", path.display()));
        let model = if after.contains("/vision/ocr") { "tesseract" } else { "simpleton-demo" };
        assert!(reply.contains(&format!("\"model\":\"{model}")), "{}\n{reply}", command.text);
        seen += 1;
    }
    assert!(seen >= 4, "README.md shows images {seen} times");
}

/// At another temperature the wording varies, and with it whether the page is true.
#[test]
fn a_printed_answer_is_asked_for_at_temperature_0() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let blocks = blocks(&page, &text);
        let consoles = blocks.iter().filter(|block| block.kind == "console");
        for command in consoles.flat_map(|block| block.commands()) {
            let answer = ["\"response\":\"", "\"content\":\""]
                .into_iter()
                .find_map(|field| Some(command.output.split_once(field)?.1));
            let is_printed = answer.is_some_and(|answer| !answer.starts_with(['…', '"']));
            let asked = command.text.replace([' ', '"', '=', ':', '}', '\''], "");
            let (_, temperature) = asked.split_once("temperature").unwrap_or_default();
            if is_printed && (!temperature.starts_with('0') || temperature.starts_with("0.")) {
                wrong.push(format!("{}: {}", command.place, command.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_block_says_what_it_is_and_hides_no_command() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for block in blocks(&page, &text) {
            let is_console = block.kind == "console";
            if is_console && block.commands().is_empty() {
                wrong.push(format!("{}: a console without a command", block.place));
            }
            if !is_console && !KINDS.contains(&block.kind.as_str()) {
                wrong
                    .push(format!("{}: say behind the fence what it is: console, or {KINDS:?}", block.place));
            }
            let hidden = block.lines.iter().filter(|line| is_command(line) || line.starts_with("$ "));
            wrong.extend(hidden.filter(|_| !is_console).map(|line| format!("{}: {line}", block.place)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Commands that are not run exist at least.
#[test]
fn what_is_not_run_exists() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let blocks = blocks(&page, &text);
        let shown = blocks.iter().filter(|block| block.kind == "console").flat_map(|block| block.commands());
        for command in shown.chain(inline_commands(&page, &text)).filter(|command| !is_run(command)) {
            let words: Vec<&str> = command.text.split_whitespace().collect();
            let exists = match words[..] {
                ["make", target, ..] => makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                ["simpleton", first, second, ..] if first != "serve" => helps(&[first, second]),
                _ => true,
            };
            if !exists {
                wrong.push(format!("{}: {}", command.place, command.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn helps(command: &[&str]) -> bool {
    let program =
        std::process::Command::new(env!("CARGO_BIN_EXE_simpleton")).args(command).arg("--help").output();
    program.unwrap().status.success()
}

#[test]
fn an_output_fits_with_anything_at_each_ellipsis() {
    for (expected, text, fit) in [
        ("a b", "ab\n", true),
        ("a…", "abc", true),
        ("a…c", "abc", true),
        ("a…c…", "abcd", true),
        ("a…c", "abcd", false),
        ("a…d…c", "abc", false),
        ("ab", "abc", false),
        ("", "", true),
        ("", "surprise", false),
    ] {
        assert_eq!(fits(expected, text), fit, "{expected:?} {text:?}");
    }
}
