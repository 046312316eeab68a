//! What outlives the process: one embedded database in the state directory, with the state of each
//! stream under its key and the anomaly events that have not been accepted yet.
//!
//! It holds bytes and knows nothing of what they mean. A database that cannot be opened is set aside
//! and reported, never a reason not to start.

use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::database::{self, DatabaseError, Plan};

const STREAMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("streams");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const GLOBAL: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("global");

/// Layout of the tables; a store of another layout is set aside.
const LAYOUT: &str = "3";
const FILE: &str = "petrel.redb";

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An open store.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

/// A store and, when what stood there could not be read, where that is now and why.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What was set aside.
    pub set_aside: Option<(PathBuf, String)>,
}

impl Store {
    /// Opens the store of a directory, as [`database::open`] does.
    ///
    /// # Errors
    /// See there.
    pub fn open(directory: &Path) -> Result<Opened, DatabaseError> {
        let plan = Plan {
            file: FILE,
            layout: LAYOUT,
            make_tables: |transaction| {
                transaction.open_table(STREAMS)?;
                transaction.open_table(EVENTS)?;
                transaction.open_table(GLOBAL)?;
                Ok(())
            },
        };
        let opened = database::open(directory, plan)?;
        Ok(Opened {
            store: Self {
                database: opened.database,
            },
            set_aside: opened.set_aside,
        })
    }

    /// Every stream's key and bytes, by key.
    ///
    /// # Errors
    /// [`DatabaseError::Database`].
    pub fn streams(&self) -> Result<Vec<Entry>, DatabaseError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(STREAMS).map_err(redb::Error::from)?;
        let mut streams = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            streams.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(streams)
    }

    /// What was last written beside the streams under a name.
    ///
    /// # Errors
    /// [`DatabaseError::Database`].
    pub fn global(&self, name: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(GLOBAL).map_err(redb::Error::from)?;
        let value = table.get(name).map_err(redb::Error::from)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    /// Writes the state of streams, drops those that are gone by key, and writes what stands beside them
    /// under names, in one transaction synced to disk.
    ///
    /// # Errors
    /// [`DatabaseError::Database`]; nothing has changed then.
    pub fn write(
        &self,
        streams: &[Entry],
        gone: &[Vec<u8>],
        global: &[(&str, Vec<u8>)],
    ) -> Result<(), DatabaseError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut table = transaction.open_table(STREAMS).map_err(redb::Error::from)?;
            for (key, value) in streams {
                table
                    .insert(key.as_slice(), value.as_slice())
                    .map_err(redb::Error::from)?;
            }
            for key in gone {
                table.remove(key.as_slice()).map_err(redb::Error::from)?;
            }
            let mut table = transaction.open_table(GLOBAL).map_err(redb::Error::from)?;
            for (name, value) in global {
                table
                    .insert(*name, value.as_slice())
                    .map_err(redb::Error::from)?;
            }
        }
        Ok(transaction.commit().map_err(redb::Error::from)?)
    }

    /// Events that have not been accepted, oldest first, with their numbers.
    ///
    /// # Errors
    /// [`DatabaseError::Database`].
    pub fn events(&self) -> Result<Vec<(u64, Vec<u8>)>, DatabaseError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(EVENTS).map_err(redb::Error::from)?;
        let mut events = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (number, value) = entry.map_err(redb::Error::from)?;
            events.push((number.value(), value.value().to_vec()));
        }
        Ok(events)
    }

    /// Keeps events and drops accepted ones, by number, in one transaction synced to disk.
    ///
    /// # Errors
    /// [`DatabaseError::Database`]; nothing has changed then.
    pub fn write_events(&self, put: &[(u64, Vec<u8>)], drop: &[u64]) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin_write().map_err(redb::Error::from)?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(redb::Error::from)?;
        {
            let mut table = transaction.open_table(EVENTS).map_err(redb::Error::from)?;
            for (number, bytes) in put {
                table
                    .insert(number, bytes.as_slice())
                    .map_err(redb::Error::from)?;
            }
            for number in drop {
                table.remove(number).map_err(redb::Error::from)?;
            }
        }
        Ok(transaction.commit().map_err(redb::Error::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_events_outlive_a_close() {
        let temp = tempfile::tempdir().unwrap();
        {
            let store = Store::open(temp.path()).unwrap().store;
            let put = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
            store
                .write(
                    &[put(b"a", b"1"), put(b"b", b"2"), put(b"c", b"4")],
                    &[],
                    &[("clock", vec![9])],
                )
                .unwrap();
            store
                .write(&[put(b"b", b"3")], &[b"c".to_vec()], &[])
                .unwrap();
            store
                .write_events(&[(7, vec![1]), (8, vec![2])], &[])
                .unwrap();
            store.write_events(&[], &[7]).unwrap();
        }
        let opened = Store::open(temp.path()).unwrap();
        assert!(opened.set_aside.is_none());
        let streams = opened.store.streams().unwrap();
        assert_eq!(
            streams,
            [
                (b"a".to_vec(), b"1".to_vec()),
                (b"b".to_vec(), b"3".to_vec())
            ]
        );
        assert_eq!(opened.store.global("clock").unwrap(), Some(vec![9]));
        assert_eq!(opened.store.global("else").unwrap(), None);
        assert_eq!(opened.store.events().unwrap(), [(8, vec![2])]);
    }

    #[test]
    fn a_damaged_store_is_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(FILE), vec![0x55; 10_000]).unwrap();
        let opened = Store::open(temp.path()).unwrap();
        let (aside, reason) = opened.set_aside.unwrap();
        assert_eq!(std::fs::read(aside).unwrap().len(), 10_000);
        assert!(!reason.is_empty());
        assert_eq!(opened.store.streams().unwrap(), []);
    }

    #[test]
    fn a_store_in_use_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let _open = Store::open(temp.path()).unwrap();
        assert!(matches!(
            Store::open(temp.path()),
            Err(DatabaseError::InUse(_))
        ));
    }
}
