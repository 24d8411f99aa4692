//! Many texts in one request of OpenAI's API, as base64, beside the engine alone with the same request.

use std::time::Instant;

use crate::{
    engine_socket,
    support::{
        Result,
        children::{KEY, Simpleton},
        client::{Connection, Target},
        processor,
        report::{Values, Verdicts, heading},
    },
};

pub const MODEL: &str = "all-minilm";
/// The most that OpenAI's API takes.
const TEXTS: usize = 2048;
const ROUNDS: usize = 3;

pub async fn compare(simpleton: &Simpleton, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("Model {MODEL}, {TEXTS} texts of about 12 tokens in one request, as base64"));
    let texts = (0..TEXTS)
        .map(|text| format!("\"Ticket {text}: the printer on floor {} is out of paper\"", text % 9));
    let texts = texts.collect::<Vec<_>>().join(",");
    let body = format!("{{\"model\":\"{MODEL}\",\"input\":[{texts}],\"encoding_format\":\"base64\"}}");
    let key = format!("x-api-key: {KEY}\r\n");
    let ours = Target::post("simpleton", simpleton.address, "/v1/embeddings", &key, &body);
    // Loads the model, and with it starts the process to compare with.
    ask(&ours).await?;
    let socket = engine_socket(simpleton.program.pid())?;
    let direct = Target::post("direct", socket, "/v1/embeddings", "", &body);
    let (mut rates, mut ratios): ([Values; 2], Values) = Default::default();
    for round in 0..=ROUNDS {
        let mut pair = [0.0; 2];
        for at in [round % 2, (round + 1) % 2] {
            let began = Instant::now();
            ask([&direct, &ours][at]).await?;
            pair[at] = TEXTS as f64 / began.elapsed().as_secs_f64();
        }
        // The first round warms up.
        if round > 0 {
            rates.iter_mut().zip(pair).for_each(|(rates, rate)| rates.add(rate));
            ratios.add(pair[1] / pair[0]);
        }
    }
    for (name, rates) in ["direct", "simpleton"].iter().zip(&mut rates) {
        println!("  {name:<10} {:>7.0} texts/s", rates.median());
    }
    println!("  simpleton's memory: {:.0} MB", processor::memory_of(simpleton.program.pid())?);
    let ratio = ratios.median();
    let what = format!("embeddings per second, {TEXTS} texts as base64");
    verdicts.add(&what, format!("{ratio:.3} x"), ">= 0.900 x", ratio >= 0.9);
    Ok(())
}

async fn ask(target: &Target) -> Result<()> {
    let mut connection = Connection::open(&target.address).await?;
    let reply = connection.call(&target.request).await?;
    // Each vector's object names its kind, too.
    let named = reply.windows(11).filter(|window| window == b"\"embedding\"").count();
    if named == 2 * TEXTS { Ok(()) } else { Err(String::from_utf8_lossy(reply).into()) }
}
