//! Files of a directory, served from memory: those that its `manifest.json` lists, and no others. Whatever a request
//! names is only looked up among their names, never in the file system.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hyper::header::{CACHE_CONTROL, HeaderValue};

pub use asset::{Asset, not_allowed};
use coding::Coding;
pub use etag::digest;
use manifest::{Entry, Manifest};

mod asset;
mod coding;
mod etag;
mod manifest;

/// The name of the manifest.
const MANIFEST: &str = "manifest.json";

/// The largest file, and the largest sum of all, in bytes: they stay in memory.
const MAX_FILE: u64 = 16 << 20;
const MAX_SUM: u64 = 64 << 20;

/// Why a directory is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// A file is not as the manifest says, or there is no manifest.
    #[error("{}: {why}", .file.display())]
    Damaged { file: PathBuf, why: String },
}

/// All files of a directory.
pub struct Assets {
    version: String,
    files: HashMap<String, Asset>,
    pages: HashMap<String, String>,
}

impl Assets {
    /// Reads the manifest and every file that it lists.
    ///
    /// # Errors
    /// Either of [`Error`].
    pub fn read(dir: &Path) -> Result<Assets, Error> {
        let dir = match dir.canonicalize() {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing(dir.into())),
            Err(error) => return Err(Error::Damaged { file: dir.into(), why: error.to_string() }),
        };
        let mut reader = Reader { dir: &dir, left: MAX_SUM };
        let text = reader.read(MANIFEST)?;
        let damaged = |name: &str, why: String| Error::Damaged { file: dir.join(name), why };
        let manifest = Manifest::parse(&text).map_err(|why| damaged(MANIFEST, why))?;
        let mut files = HashMap::new();
        for (name, entry) in &manifest.files {
            files.insert(name.clone(), reader.asset(name, entry)?);
        }
        Ok(Assets { version: manifest.version, files, pages: manifest.pages.into_iter().collect() })
    }

    /// The version that the manifest names.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file of exactly this name.
    pub fn file(&self, name: &str) -> Option<&Asset> {
        self.files.get(name)
    }

    /// The text of a page that is to be filled in.
    pub fn page(&self, what: &str) -> Option<&str> {
        self.files.get(self.pages.get(what)?)?.text()
    }
}

/// Reads files of one directory.
struct Reader<'a> {
    dir: &'a Path,
    /// How many bytes may still be read.
    left: u64,
}

impl Reader<'_> {
    fn asset(&mut self, name: &str, entry: &Entry) -> Result<Asset, Error> {
        let damaged = |why: &str| Error::Damaged { file: self.dir.join(name), why: why.into() };
        let wrong_type = |_| damaged("its type in the manifest is not one");
        let content_type = HeaderValue::from_str(&entry.media_type).map_err(wrong_type)?;
        let bytes = self.read(name)?;
        if digest([&bytes[..]]) != entry.etag {
            return Err(self.damaged(name, "is not the file that the manifest lists"));
        }
        let mut asset = Asset::new(content_type, &entry.etag, bytes);
        if asset.is_page() && asset.text().is_none() {
            return Err(self.damaged(name, "is not text in UTF-8"));
        }
        if entry.immutable {
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            asset.headers_mut().insert(CACHE_CONTROL, forever);
        }
        for ending in &entry.encodings {
            let Some(coding) = Coding::by_ending(ending) else {
                return Err(self.damaged(name, "has an encoding in the manifest that is neither br nor gz"));
            };
            asset.push(coding, self.read(&format!("{name}.{ending}"))?.into());
        }
        Ok(asset)
    }

    /// The bytes of a file. A link may lead to another place of the directory only.
    fn read(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let failed = |error: io::Error| self.damaged(name, &error.to_string());
        let path = self.dir.join(name).canonicalize().map_err(failed)?;
        if !path.starts_with(self.dir) {
            return Err(self.damaged(name, "is a link that leads out of this directory"));
        }
        // Opening a pipe would wait for its other end.
        if !fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(self.damaged(name, "is not a file"));
        }
        let limit = MAX_FILE.min(self.left);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(failed)?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        let length = bytes.len() as u64;
        if length > limit {
            let (each, all) = (MAX_FILE >> 20, MAX_SUM >> 20);
            return Err(self.damaged(name, &format!("is too large: {each} MiB each, and {all} MiB in all")));
        }
        self.left -= length;
        Ok(bytes)
    }

    fn damaged(&self, name: &str, why: &str) -> Error {
        Error::Damaged { file: self.dir.join(name), why: why.into() }
    }
}

#[cfg(test)]
mod tests;
