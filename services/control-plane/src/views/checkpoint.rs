//! How far the tables are, kept in the same file and moved in the same transaction.

use event_store::Position;
use sqlx::SqliteConnection;

use super::{Views, signed, unsigned};

/// How far the tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last event that was taken in.
    pub position: Position,
    /// The last configuration event that was taken in.
    pub configuration: Position,
    /// The id of the event at `position`; empty before the first.
    pub event_id: String,
}

const NAME: &str = "views";

/// The checkpoint of a file.
pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Checkpoint, sqlx::Error> {
    let row: Option<(i64, i64, String)> =
        sqlx::query_as("SELECT position, configuration, event_id FROM checkpoint WHERE name = $1")
            .bind(NAME)
            .fetch_optional(connection)
            .await?;
    Ok(row
        .map(|(position, configuration, event_id)| Checkpoint {
            position: Position::new(unsigned(position)),
            configuration: Position::new(unsigned(configuration)),
            event_id,
        })
        .unwrap_or_default())
}

/// Moves the checkpoint.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    checkpoint: &Checkpoint,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO checkpoint (name, position, configuration, event_id) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET \
         position = excluded.position, configuration = excluded.configuration, \
         event_id = excluded.event_id",
    )
    .bind(NAME)
    .bind(signed(checkpoint.position.as_u64()))
    .bind(signed(checkpoint.configuration.as_u64()))
    .bind(&checkpoint.event_id)
    .execute(connection)
    .await?;
    Ok(())
}

impl Views {
    /// How far the file is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn checkpoint(&self) -> Result<Checkpoint, super::ViewError> {
        let mut connection = self.pool.acquire().await?;
        Ok(read(&mut connection).await?)
    }
}
