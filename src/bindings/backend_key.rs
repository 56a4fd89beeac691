//! What the Django backend's keys are: a prefix, a version and the caller's key, never put together into one string.
//!
//! Django's own key is `"prefix:version:key"`. Two spellings that give one such string are one key here too, as far as they
//! share a prefix: versions that are no ints, and keys that a `KEY_FUNCTION` made, are taken apart again where they can be.
//! What can't be taken apart is a key as a whole.

// Long because all that tells keys apart has to agree, and is to be read in one place.

use pyo3::prelude::*;
use pyo3::types::{PyInt, PySlice, PyString};

use super::fastcall;
use super::keys;
use super::outside;
use super::shared::PyTable;
use super::typed::fold;
use crate::engine::{Head, Slot, Text, key_pattern};

/// In place of a prefix and a version, for keys as a whole.
const WHOLE: u64 = 0x77_68_6F_6C_65;
/// No version has more characters.
const VERSION_CHARACTERS: usize = 21;

/// The key of an entry whose handler has a prefix, or a version other than 1. Immutable.
#[pyclass(frozen, weakref, module = "oxicache._native")]
pub(super) struct BackendKey {
    /// None for a key as a whole.
    pub(super) prefix: Option<Py<PyString>>,
    pub(super) version: i64,
    pub(super) key: Py<PyString>,
    pub(super) hash: u64,
}

#[pymethods]
impl BackendKey {
    /// None for a key that was made by a `KEY_FUNCTION`.
    #[getter]
    fn prefix(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.prefix.as_ref().map(|prefix| prefix.clone_ref(py))
    }

    #[getter]
    fn version(&self) -> i64 {
        self.version
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyString> {
        self.key.clone_ref(py)
    }

    fn __hash__(&self) -> u64 {
        self.hash
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast_exact::<Self>()
            .is_ok_and(|other| Name::of(&self.of(other.py())).is_key(other.as_any()))
    }

    fn __str__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        Name::of(&self.of(py)).text()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "<BackendKey {}>",
            outside::repr(self.__str__(py)?.as_any())?
        ))
    }
}

impl BackendKey {
    fn of<'py>(&self, py: Python<'py>) -> Owned<'py> {
        Owned {
            prefix: self.prefix.as_ref().map(|prefix| prefix.bind(py).clone()),
            version: self.version,
            key: self.key.bind(py).clone(),
            hash: self.hash,
        }
    }
}

/// The parts of a key, with references of their own.
pub(super) struct Owned<'py> {
    pub(super) prefix: Option<Bound<'py, PyString>>,
    pub(super) version: i64,
    pub(super) key: Bound<'py, PyString>,
    pub(super) hash: u64,
}

/// A key that is asked for. All strs are exact ones.
#[derive(Clone, Copy)]
pub(super) struct Name<'a, 'py> {
    prefix: Option<&'a Bound<'py, PyString>>,
    version: i64,
    key: &'a Bound<'py, PyString>,
    pub(super) hash: u64,
    is_bare: bool,
}

/// What the hashes of all keys with this prefix and version have in common; None for bare keys, which are their str.
pub(super) fn salt_of(prefix: &Bound<'_, PyString>, version: i64) -> PyResult<Option<u64>> {
    if version == 1 && prefix.len()? == 0 {
        return Ok(None);
    }
    Ok(Some(fold(
        keys::hash_of(prefix.as_any())?,
        version.cast_unsigned(),
    )))
}

impl<'py> Owned<'py> {
    /// The key of a handler, all of whose keys are salted so.
    pub(super) fn salted(
        prefix: Bound<'py, PyString>,
        version: i64,
        salt: Option<u64>,
        key: Bound<'py, PyString>,
    ) -> PyResult<Self> {
        let hash = keys::hash_of(key.as_any())?;
        Ok(Self {
            prefix: Some(prefix),
            version,
            hash: salt.map_or(hash, |salt| fold(salt, hash)),
            key,
        })
    }

    pub(super) fn new(
        prefix: &Bound<'py, PyString>,
        version: i64,
        key: Bound<'py, PyString>,
    ) -> PyResult<Self> {
        let salt = salt_of(prefix, version)?;
        Self::salted(prefix.clone(), version, salt, key)
    }

    /// The parts of a key that was made already: those of Django's form where it has it.
    pub(super) fn parsed(
        prefix: &Bound<'py, PyString>,
        made: &Bound<'py, PyString>,
    ) -> PyResult<Self> {
        if let Some((version, key)) = parts(prefix, made)? {
            return Self::new(prefix, version, key);
        }
        Self::whole(made)
    }

    /// A key that can't be taken apart.
    pub(super) fn whole(made: &Bound<'py, PyString>) -> PyResult<Self> {
        Ok(Self {
            prefix: None,
            version: 0,
            key: made.clone(),
            hash: fold(WHOLE, keys::hash_of(made.as_any())?),
        })
    }

    /// The key that an entry is stored under.
    pub(super) fn from_object(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(key) = object.cast_exact::<BackendKey>() {
            return Ok(key.get().of(object.py()));
        }
        let key = object.cast::<PyString>()?;
        Self::new(
            &PyString::new(object.py(), ""),
            1,
            fastcall::exact_str(key)?,
        )
    }
}

/// Version and key of a key of Django's form.
fn parts<'py>(
    prefix: &Bound<'py, PyString>,
    made: &Bound<'py, PyString>,
) -> PyResult<Option<(i64, Bound<'py, PyString>)>> {
    let start = prefix.len()?;
    if made.len()? <= start
        || !slice(made, 0, start)?.as_any().eq(prefix)?
        || !slice(made, start, start + 1)?.as_any().eq(":")?
    {
        return Ok(None);
    }
    let head = slice(made, start + 1, start + 1 + VERSION_CHARACTERS)?;
    // What can't be told in UTF-8 is replaced, and stands behind what is looked for.
    let head = head.to_string_lossy().into_owned();
    let Some((digits, _)) = head.split_once(':') else {
        return Ok(None);
    };
    let Some(version) = number(digits) else {
        return Ok(None);
    };
    let rest = slice(made, start + 1 + digits.len() + 1, made.len()?)?;
    Ok(Some((version, rest)))
}

/// The int of which this is the one spelling.
pub(super) fn number(text: &str) -> Option<i64> {
    let version: i64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

/// `text[start:end]`.
pub(super) fn slice<'py>(
    text: &Bound<'py, PyString>,
    start: usize,
    end: usize,
) -> PyResult<Bound<'py, PyString>> {
    let slice = PySlice::new(text.py(), start.cast_signed(), end.cast_signed(), 1);
    Ok(text.get_item(slice)?.cast_into()?)
}

/// `str(object)`, exactly a str. Runs `__str__`.
pub(super) fn text_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    if let Ok(text) = object.cast_exact::<PyString>() {
        return Ok(text.clone());
    }
    let py = object.py();
    let text = outside::call_with(py.get_type::<PyString>().as_any(), (object,))?;
    fastcall::exact_str(text.cast::<PyString>()?)
}

/// A version as a number, when its text is that of one.
pub(super) fn version_of(version: &Bound<'_, PyAny>) -> PyResult<Result<i64, String>> {
    if version.is_exact_instance_of::<PyInt>()
        && let Ok(number) = version.extract()
    {
        return Ok(Ok(number));
    }
    let text = text_of(version)?.to_string_lossy().into_owned();
    Ok(number(&text).ok_or(text))
}

/// A key in Django's form.
pub(super) fn made<'py>(
    prefix: &Bound<'py, PyString>,
    version: &Bound<'py, PyString>,
    key: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyString>> {
    let colon = PyString::new(prefix.py(), ":");
    let made = prefix.as_any().add(&colon)?.add(version)?;
    Ok(made.add(&colon)?.add(key)?.cast_into()?)
}

impl<'a, 'py> Name<'a, 'py> {
    pub(super) fn of(owned: &'a Owned<'py>) -> Self {
        let is_bare = owned.version == 1
            && owned
                .prefix
                .as_ref()
                .is_some_and(|prefix| prefix.len().is_ok_and(|length| length == 0));
        Self {
            prefix: owned.prefix.as_ref(),
            version: owned.version,
            key: &owned.key,
            hash: owned.hash,
            is_bare,
        }
    }

    pub(super) fn py(&self) -> Python<'py> {
        self.key.py()
    }

    /// Does an entry under this key object have this name? Runs no Python code.
    pub(super) fn is_key(&self, held: &Bound<'py, PyAny>) -> bool {
        if self.is_bare {
            return same(held, self.key);
        }
        let Ok(held) = held.cast_exact::<BackendKey>() else {
            return false;
        };
        let py = self.py();
        let held = held.get();
        held.version == self.version
            && match (&held.prefix, self.prefix) {
                (Some(held), Some(asked)) => same(held.bind(py), asked),
                (None, None) => true,
                _ => false,
            }
            && same(held.key.bind(py), self.key)
    }

    pub(super) fn find(&self, table: &PyTable) -> Option<Slot> {
        table.find(self.hash, |held| self.is_key(held.bind(self.py())))
    }

    /// What an entry is stored under.
    pub(super) fn object(&self) -> PyResult<Py<PyAny>> {
        if self.is_bare {
            return Ok(self.key.clone().into_any().unbind());
        }
        let key = BackendKey {
            prefix: self.prefix.map(|prefix| prefix.clone().unbind()),
            version: self.version,
            key: self.key.clone().unbind(),
            hash: self.hash,
        };
        Ok(Py::new(self.py(), key)?.into_any())
    }

    /// The bytes that are held for an entry's key.
    pub(super) fn bytes(&self) -> u64 {
        let text = fastcall::shallow_bytes(self.key);
        if self.is_bare {
            text
        } else {
            text + size_of::<BackendKey>() as u64 + 32
        }
    }

    /// What keys like this one are counted under: neither prefix nor version is part of it.
    pub(super) fn pattern(&self) -> String {
        key_pattern(&self.key.to_string_lossy())
    }

    /// How many characters stand before the caller's key in the key as Django makes it.
    pub(super) fn head_characters(&self) -> PyResult<usize> {
        let Some(prefix) = self.prefix else {
            return Ok(0);
        };
        Ok(prefix.len()? + 1 + self.version.to_string().len() + 1)
    }

    /// Shows its parts. Runs no Python code.
    pub(super) fn with_parts<R>(&self, look: impl FnOnce(Head<'_>, Text<'_>) -> R) -> R {
        let version = self.version;
        fastcall::with_text(self.key, |key| match self.prefix {
            Some(prefix) => {
                fastcall::with_text(prefix, |prefix| look(Head::Django { prefix, version }, key))
            }
            None => look(Head::Whole, key),
        })
    }

    /// The key as Django makes it.
    pub(super) fn text(&self) -> PyResult<Bound<'py, PyString>> {
        match self.prefix {
            Some(prefix) => {
                let version = PyString::new(self.py(), &self.version.to_string());
                made(prefix, &version, self.key)
            }
            None => Ok(self.key.clone()),
        }
    }

    /// May memcached have the key as Django makes it, so that nobody needs to be warned?
    pub(super) fn is_portable(&self) -> bool {
        let parts = match self.prefix {
            Some(prefix) => [Some(prefix), Some(self.key)],
            None => [Some(self.key), None],
        };
        let mut length = if self.prefix.is_some() { 23 } else { 0 };
        for part in parts.into_iter().flatten() {
            let Ok(characters) = part.len() else {
                return false;
            };
            length += characters;
            if !fastcall::is_printable(part) {
                return false;
            }
        }
        length <= 250
    }

    /// The name of the key's version word, equal in all processes.
    pub(super) fn word(&self, location: &[u8]) -> PyResult<Vec<u8>> {
        let mut name = Vec::with_capacity(96);
        match self.prefix {
            Some(prefix) => word_start(location, prefix, self.version, &mut name)?,
            None => {
                name.extend_from_slice(b"made:");
                name.extend_from_slice(location);
                name.push(b':');
            }
        }
        super::versions::encode(self.key, &mut name)?;
        Ok(name)
    }
}

/// What the names of the words of all keys with this prefix and version begin with.
pub(super) fn word_start(
    location: &[u8],
    prefix: &Bound<'_, PyString>,
    version: i64,
    name: &mut Vec<u8>,
) -> PyResult<()> {
    name.extend_from_slice(b"key:");
    name.extend_from_slice(location);
    name.push(b':');
    super::versions::encode(prefix, name)?;
    name.push(b':');
    if version == 1 {
        name.push(b'1');
    } else {
        name.extend_from_slice(version.to_string().as_bytes());
    }
    name.push(b':');
    Ok(())
}

/// Are these exact strs equal? Anything else is not.
fn same(held: &Bound<'_, PyAny>, asked: &Bound<'_, PyString>) -> bool {
    keys::native_eq(held, asked.as_any()) == Some(true)
}
