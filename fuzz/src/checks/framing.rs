//! Streamed replies of backends, as server-sent events and as lines of JSON: the same frames however the network
//! cuts them. Parsers of frames are given all of them.

use crate::{
    pieces::pieces,
    wire::{Framing, Parser, llama::CompletionParser, ndjson::Lines, ollama::LineParser, openai::ReplyParser, sse},
};

pub fn framing(input: &[u8]) {
    let (pieces, stream) = pieces(input);
    let lines = frames(Lines::default(), &[stream]);
    assert_eq!(lines, frames(Lines::default(), &pieces));
    let joined = lines.join(b"\n".as_slice());
    assert!(joined.len() <= stream.len());
    assert_eq!(lines, frames(Lines::default(), &[&joined]));
    parse::<LineParser>(&lines);

    let events = frames(sse::Events::default(), &[stream]);
    assert_eq!(events, frames(sse::Events::default(), &pieces));
    let mut written = Vec::new();
    for event in &events {
        for line in event.split(|byte| *byte == b'\n') {
            written.extend_from_slice(&[b"data: ", line, b"\n"].concat());
        }
        written.push(b'\n');
    }
    assert_eq!(events, frames(sse::Events::default(), &[&written]));
    parse::<ReplyParser>(&events);
    parse::<CompletionParser>(&events);
}

fn frames(mut framing: impl Framing, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for piece in pieces {
        framing.push(piece);
        while framing.advance().expect("frames within the limit") {
            frames.push(framing.frame().to_vec());
        }
    }
    if framing.end() {
        frames.push(framing.frame().to_vec());
    }
    assert!(!framing.end(), "a stream ends once");
    frames
}

fn parse<P: Parser>(frames: &[Vec<u8>]) {
    let (mut parser, mut events) = (P::default(), Vec::new());
    for frame in frames {
        if parser.is_closed() || parser.take(frame, &mut events).is_err() {
            return;
        }
    }
    parser.finish();
}
