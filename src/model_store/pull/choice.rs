//! Choice of the files of a repository on Hugging Face: a quantization, all of its parts, and the projector.

use serde::Deserialize;

use crate::model_store::digest::Digest;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct RepositoryFile {
    pub(super) path: String,
    pub(super) lfs: Option<Lfs>,
}

/// Contents of a large file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Lfs {
    /// sha256 in hexadecimal.
    pub(super) oid: String,
    /// Bytes.
    pub(super) size: u64,
}

impl Lfs {
    pub(super) fn digest(&self) -> Option<Digest> {
        Digest::try_from(format!("sha256:{}", self.oid)).ok()
    }
}

/// Files that make up a model.
#[derive(Debug, PartialEq)]
pub(super) struct Choice<'a> {
    /// All parts, in order.
    pub(super) weights: Vec<&'a RepositoryFile>,
    pub(super) projector: Option<&'a RepositoryFile>,
}

/// Order of preference when no quantization is asked for: Q4_K_M, then what is nearest to it in quality and size.
const PREFERRED: [&str; 22] = [
    "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "Q4_K_L", "Q4_K_XL", "MXFP4", "Q5_K_M", "Q5_K_S",
    "Q5_0", "Q5_1", "Q3_K_L", "Q3_K_M", "Q6_K", "Q3_K_S", "Q8_0", "Q2_K", "F16", "BF16", "F32",
];
const PREFERRED_PROJECTOR: [&str; 4] = ["F16", "BF16", "Q8_0", "F32"];

/// Chooses by a tag of Ollama's, which is a quantization, or the name of a file; without one, the default.
///
/// # Errors
/// The quantizations that there are, which may be none.
pub(super) fn choose<'a>(files: &'a [RepositoryFile], tag: Option<&str>) -> Result<Choice<'a>, Vec<String>> {
    let mut variants = variants(files);
    // Of several that fit, the one with the shortest name is the plainest.
    variants.sort_by_key(|variant| (variant.stem.len(), variant.stem));
    let chosen = match tag {
        Some(tag) => variants.iter().find(|variant| variant.is_named(tag)),
        None => {
            let preferred = PREFERRED.iter().find_map(|label| variants.iter().find(|it| it.is_named(label)));
            preferred.or(variants.first())
        }
    };
    match chosen {
        Some(chosen) => {
            Ok(Choice { weights: chosen.parts.clone(), projector: projector(files, folder(chosen.stem)) })
        }
        None => Err(variants.iter().map(|variant| variant.label()).collect()),
    }
}

/// One quantization of a model.
struct Variant<'a> {
    /// Path without the number of a part and the file type.
    stem: &'a str,
    parts: Vec<&'a RepositoryFile>,
}

impl Variant<'_> {
    fn name(&self) -> &str {
        self.stem.rsplit('/').next().unwrap_or(self.stem)
    }

    fn is_named(&self, tag: &str) -> bool {
        let tag = tag.strip_suffix(".gguf").unwrap_or(tag);
        ends_with_word(self.name(), tag)
            || self.stem.rsplit('/').skip(1).any(|folder| folder.eq_ignore_ascii_case(tag))
    }

    /// The quantization as it can be asked for.
    fn label(&self) -> String {
        // Unsloth's dynamic quantizations have a prefix.
        let known = PREFERRED.iter().flat_map(|label| [format!("UD-{label}"), (*label).to_owned()]);
        let known = known.filter(|label| self.is_named(label));
        known.max_by_key(String::len).unwrap_or_else(|| self.name().to_owned())
    }
}

fn variants(files: &[RepositoryFile]) -> Vec<Variant<'_>> {
    let mut found: Vec<(Variant<'_>, usize)> = Vec::new();
    for file in files {
        let Some(path) = without_type(&file.path).filter(|_| !is_projector(&file.path)) else { continue };
        let (stem, number, count) = split(path).unwrap_or((path, 1, 1));
        match found.iter_mut().find(|(variant, all)| variant.stem == stem && *all == count) {
            Some((variant, _)) if variant.parts.len() + 1 == number => variant.parts.push(file),
            None if number == 1 => found.push((Variant { stem, parts: vec![file] }, count)),
            _ => {}
        }
    }
    // A part is missing, or their list is not in order.
    found
        .into_iter()
        .filter(|(variant, count)| variant.parts.len() == *count)
        .map(|(variant, _)| variant)
        .collect()
}

/// `model-00002-of-00003` is part 2 of 3 of `model`, as llama.cpp names it.
fn split(path: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = path.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let parse = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 5);
    Some((stem, parse(number)?, parse(count)?))
}

/// The projector beside the model, or else that of the repository.
fn projector<'a>(files: &'a [RepositoryFile], beside: &str) -> Option<&'a RepositoryFile> {
    let projectors =
        || files.iter().filter(|file| without_type(&file.path).is_some() && is_projector(&file.path));
    let of = |folder_only: bool| {
        let fits = move |file: &&RepositoryFile| !folder_only || folder(&file.path) == beside;
        let named = |label: &&str| {
            projectors()
                .filter(fits)
                .find(|file| ends_with_word(without_type(&file.path).unwrap_or(""), label))
        };
        PREFERRED_PROJECTOR.iter().find_map(named).or_else(|| projectors().find(fits))
    };
    of(true).or_else(|| of(false))
}

fn is_projector(path: &str) -> bool {
    path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase().contains("mmproj")
}

fn without_type(path: &str) -> Option<&str> {
    let at = path.len().checked_sub(".gguf".len())?;
    path.get(at..)?.eq_ignore_ascii_case(".gguf").then(|| &path[..at])
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a name ends with this word, in any case, and the word is not only the end of another one.
fn ends_with_word(name: &str, word: &str) -> bool {
    let Some(at) = name.len().checked_sub(word.len()) else { return false };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(word))
        && (at == 0 || name[..at].ends_with(['-', '.', '_', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<RepositoryFile> {
        paths.iter().map(|path| RepositoryFile { path: (*path).to_owned(), lfs: None }).collect()
    }

    /// Chosen paths, the projector's last; or the labels that there are.
    fn chosen(paths: &[&str], tag: Option<&str>) -> String {
        match choose(&files(paths), tag) {
            Ok(Choice { weights, projector }) => {
                let paths = weights.into_iter().chain(projector).map(|file| file.path.as_str());
                paths.collect::<Vec<_>>().join(" ")
            }
            Err(labels) => format!("only {}", labels.join(" ")),
        }
    }

    #[test]
    fn a_quantization_is_found_by_its_name() {
        let all =
            ["README.md", "m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-IQ4_XS.gguf", "m-UD-Q4_K_M.gguf", "m.fp16.gguf"];
        for (tag, expected) in [
            (None, "m-Q4_K_M.gguf"),
            (Some("q8_0"), "m-Q8_0.gguf"),
            (Some("Q4_K_M"), "m-Q4_K_M.gguf"),
            (Some("UD-Q4_K_M"), "m-UD-Q4_K_M.gguf"),
            (Some("m-IQ4_XS.gguf"), "m-IQ4_XS.gguf"),
            (Some("m-iq4_xs"), "m-IQ4_XS.gguf"),
            // It is not the end of FP16.
            (Some("P16"), "only Q8_0 m.fp16 IQ4_XS Q4_K_M UD-Q4_K_M"),
        ] {
            assert_eq!(chosen(&all, tag), expected, "{tag:?}");
        }
        assert_eq!(chosen(&["a-Q2_K.gguf", "a-Q5_K_M.gguf", "a-F16.gguf"], None), "a-Q5_K_M.gguf");
        assert_eq!(chosen(&["ggml-model.gguf"], None), "ggml-model.gguf");
        assert_eq!(chosen(&["model.safetensors"], None), "only ");
    }

    #[test]
    fn a_split_model_is_chosen_whole_or_not_at_all() {
        let all = [
            "Q8_0/m-Q8_0-00001-of-00002.gguf",
            "Q8_0/m-Q8_0-00002-of-00002.gguf",
            "m-Q6_K-00001-of-00003.gguf",
            "m-Q6_K-00003-of-00003.gguf",
            "BF16/part-00001-of-00001.gguf",
        ];
        let whole = "Q8_0/m-Q8_0-00001-of-00002.gguf Q8_0/m-Q8_0-00002-of-00002.gguf";
        assert_eq!(chosen(&all, Some("Q8_0")), whole);
        assert_eq!(chosen(&all, None), whole);
        assert_eq!(chosen(&all, Some("Q6_K")), "only BF16 Q8_0");
        assert_eq!(chosen(&all, Some("BF16")), "BF16/part-00001-of-00001.gguf");
    }

    #[test]
    fn a_vision_model_comes_with_its_projector() {
        let all = ["m-Q4_K_M.gguf", "mmproj-m-F32.gguf", "mmproj-m-f16.gguf", "mmproj-m-bf16.gguf"];
        assert_eq!(chosen(&all, None), "m-Q4_K_M.gguf mmproj-m-f16.gguf");
        let all = ["a/m-Q4_0.gguf", "a/mmproj-model.gguf", "mmproj-F16.gguf"];
        assert_eq!(chosen(&all, None), "a/m-Q4_0.gguf a/mmproj-model.gguf");
    }
}
