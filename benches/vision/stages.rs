//! Stages of the work on an image, in this process.

use std::time::Duration;

use bytes::Bytes;
use simpleton::images::{Image, ImageFile, ImageLimits, Pixels};

use crate::{
    photo,
    support::{Result, processor::own_time, report::heading},
};

const ROUNDS: u32 = 20;

pub fn measure() -> Result<()> {
    let file = Bytes::from(photo::jpeg()?);
    let limits = ImageLimits::default();
    let (width, height) = photo::SIZE;
    heading(&format!(
        "A JPEG of {width} × {height} pixels, {:.1} MB: processor time",
        file.len() as f64 / 1e6
    ));
    let open = || ImageFile::open(file.clone(), &limits).map_err(|refusal| refusal.to_string());
    let decode = || open()?.decode(limits.max_side).map_err(|refusal| refusal.to_string());
    let mut spent = [Duration::ZERO; 4];
    let mut last = None;
    // The first round warms up.
    for round in 0..=ROUNDS {
        let mut times = [own_time(std::process::id())?; 5];
        let pixels: Pixels = decode()?;
        times[1] = own_time(std::process::id())?;
        let pixels = pixels.fit(limits.max_side);
        times[2] = own_time(std::process::id())?;
        let image: Image = pixels.encode();
        times[3] = own_time(std::process::id())?;
        let encoded = image.to_base64();
        times[4] = own_time(std::process::id())?;
        if round > 0 {
            for (spent, pair) in spent.iter_mut().zip(times.windows(2)) {
                *spent += pair[1].saturating_sub(pair[0]);
            }
        }
        last = Some((image, encoded));
    }
    let parts = ["decode", "scale", "hash and encode", "base64"];
    for (name, spent) in parts.into_iter().zip(spent) {
        println!("  {name:<16} {:>6.1} ms", milliseconds(spent / ROUNDS));
    }
    println!("  {:<16} {:>6.1} ms", "together", milliseconds(spent.iter().sum::<Duration>() / ROUNDS));
    if let Some((image, encoded)) = last {
        println!("  passed on: {image:?}, {} bytes of base64", encoded.len());
    }
    Ok(())
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
