//! From whatever bytes callers send to images that a backend may see: on threads where blocking is
//! allowed, and only so many pixels at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::image_urls::{HostPattern, ImageUrls};
use crate::{
    error::{Error, Kind, Result},
    images::{EncodedImage, Image, ImageFile, ImageLimits, Refusal},
    telemetry::metrics::Metrics,
    value_parser::whole,
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Vision")]
#[group(skip)]
pub struct Settings {
    /// Maximum size of an image file, in megabytes
    #[arg(long, env = "VISION_MAX_IMAGE_MB", default_value = "20", value_parser = whole(1..=1024_u64))]
    pub vision_max_image_mb: u64,
    /// Maximum number of pixels in an image, and in all images being decoded at once; each pixel takes 3 to 12 bytes of memory
    #[arg(long, env = "VISION_MAX_PIXELS", default_value = "50000000", value_parser = whole(1_000_000..=1_000_000_000_u64))]
    pub vision_max_pixels: u64,
    /// Maximum length of an image's longer side, in pixels; larger images are scaled down before a model gets them
    #[arg(long, env = "VISION_MAX_SIDE", default_value = "2048", value_parser = whole(64..=16_384_u32))]
    pub vision_max_side: u32,
    /// Hosts whose images may be fetched by URL, separated by commas: images.example.com, *.example.com, or * for all; private addresses are never asked
    #[arg(long, env = "IMAGE_URL_HOSTS", value_delimiter = ',', value_parser = HostPattern::parse)]
    pub image_url_hosts: Vec<HostPattern>,
}

impl From<&Settings> for ImageLimits {
    fn from(settings: &Settings) -> Self {
        Self {
            max_bytes: usize::try_from(settings.vision_max_image_mb).unwrap_or(usize::MAX) * 1024 * 1024,
            max_pixels: settings.vision_max_pixels,
            max_side: settings.vision_max_side,
        }
    }
}

pub struct ImageDecoder {
    limits: ImageLimits,
    urls: ImageUrls,
    /// A permit for each thousand pixels that may be decoded at once: what bounds the memory.
    room: Arc<Semaphore>,
    permits: u32,
    /// The least that an image takes, so that no more are decoded at once than there are processors:
    /// more would only take the time of other requests.
    least: u32,
    metrics: Arc<Metrics>,
}

/// Timeout for waiting until others are decoded; then the caller gets a 429.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);

impl ImageDecoder {
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let limits = ImageLimits::from(settings);
        let permits = thousands(limits.max_pixels);
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let least = permits / u32::try_from(processors).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(permits as usize));
        let urls = ImageUrls::new(&settings.image_url_hosts);
        Self { limits, urls, room, permits, least: least.max(1), metrics }
    }

    pub fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// The image, decoded, scaled and encoded anew. `pointer` is where it stands in the request.
    ///
    /// # Errors
    /// `Malformed`, `TooLarge` or `Invalid` when it is not accepted; `Busy` when too many others are
    /// being decoded.
    pub async fn open(&self, encoded: EncodedImage, pointer: &str) -> Result<Image> {
        let limits = self.limits;
        let (encoded, _fetched) = self.fetch(encoded, pointer).await?;
        // Reading a header is quick, but a hostile one has been known to take its time.
        let file =
            spawn_blocking(move || encoded.into_bytes().and_then(|bytes| ImageFile::open(bytes, &limits)));
        let file = self.outcome(file.await, pointer)?;
        let permits = thousands(file.pixels()).clamp(self.least, self.permits);
        let waiting = tokio::time::timeout(QUEUE_TIMEOUT, Arc::clone(&self.room).acquire_many_owned(permits));
        let room = waiting.await.map_err(|_| busy())?;
        let metrics = Arc::clone(&self.metrics);
        let image = spawn_blocking(move || {
            // Held until the pixels are freed, even when the request has been cancelled.
            let _room = room;
            let began = Instant::now();
            let (bytes, pixels) = (file.file_size(), file.pixels());
            let image = file.decode(limits.max_side)?.fit(limits.max_side).encode();
            metrics.vision.decoded(began.elapsed(), bytes, pixels);
            Ok(image)
        });
        self.outcome(image.await, pointer)
    }

    /// Fetches the file of an image that is given by its URL. Returns the room that the file takes until it is decoded.
    async fn fetch(
        &self,
        encoded: EncodedImage,
        pointer: &str,
    ) -> Result<(EncodedImage, Option<OwnedSemaphorePermit>)> {
        let Some(url) = encoded.url() else { return Ok((encoded, None)) };
        let fetched = self.urls.fetch(url, &self.limits).await;
        let (file, room) = self.outcome(Ok(fetched), pointer)?;
        Ok((EncodedImage::from_bytes(file), Some(room)))
    }

    /// A decoder that gives up in panic has been given something that is no image.
    fn outcome<T>(
        &self,
        ended: std::result::Result<std::result::Result<T, Refusal>, tokio::task::JoinError>,
        pointer: &str,
    ) -> Result<T> {
        ended.unwrap_or_else(|panic| Err(Refusal::broken("image", panic))).map_err(|refusal| {
            self.metrics.vision.refused(refusal.reason);
            refusal.at(pointer)
        })
    }
}

fn thousands(pixels: u64) -> u32 {
    u32::try_from(pixels.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn busy() -> Error {
    Error::new(Kind::Busy, "Too many images are being decoded; try again later.")
        .retry_after(Duration::from_secs(5))
}
