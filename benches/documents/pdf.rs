//! Extraction of the text of a long PDF, in the child process that each document gets.

use std::fs;

use crate::{
    manuals::{self, manual},
    server::Server,
    support::{
        Result,
        report::{Values, Verdicts, heading},
    },
};

const ROUNDS: usize = 5;

pub async fn measure(server: &Server, verdicts: &mut Verdicts) -> Result<()> {
    let Some(file) = manual(manuals::PDF) else { return Ok(()) };
    heading("Extraction of a PDF");
    let content = fs::read(file)?;
    let (mut seconds, mut pages, mut characters) = (Values::default(), 0, 0);
    for _ in 0..ROUNDS {
        let reply = server.upload("/documents/parse", "manual.pdf", &content, &[]).await?;
        seconds.add(reply.seconds);
        pages = reply.body["pages"].as_array().map_or(0, Vec::len);
        characters = reply.body["text"].as_str().map_or(0, |text| text.chars().count());
    }
    let median = seconds.median();
    println!(
        "  {pages} pages, {characters} characters: median {median:.2} s, worst {:.2} s",
        seconds.quantile(1.0)
    );
    // Not every edition of the manual has 300 pages.
    let of_300 = median * 300.0 / pages.max(1) as f64;
    verdicts.add("text of a PDF of 300 pages", format!("{of_300:.2} s"), "< 2 s", of_300 < 2.0);
    Ok(())
}
