//! An upload, from its first byte until the backend has it and its answer is back: the processor time
//! of the whole server.

use std::time::Instant;

use crate::{
    form, photo,
    stages::milliseconds,
    support::{
        Result,
        children::Simpleton,
        client::Connection,
        processor::own_time,
        report::{Values, Verdicts, heading},
    },
};

const ROUNDS: u32 = 30;

pub async fn measure(simpleton: &Simpleton, verdicts: &mut Verdicts) -> Result<()> {
    let target = form(simpleton, &photo::jpeg()?);
    let mut connection = Connection::open(&target.address).await?;
    connection.call(&target.request).await?;
    heading("Uploads of the same photograph, one after the other");
    let pid = simpleton.program.pid();
    let before = own_time(pid)?;
    let mut took = Values::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        connection.call(&target.request).await?;
        took.add(milliseconds(began.elapsed()));
    }
    let each = milliseconds(own_time(pid)?.saturating_sub(before) / ROUNDS);
    println!("  {each:.1} ms of processor time each, {:.1} ms until the answer", took.median());
    verdicts.add(
        "processor time of a 12-megapixel upload",
        format!("{each:.1} ms"),
        "< 100 ms",
        each < 100.0,
    );
    Ok(())
}
