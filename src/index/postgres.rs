//! PostgreSQL, by one connection that is made again when it broke.

use std::error::Error as _;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use super::database::{Answer, Database, Dialect, Row, Statement, Value};
use super::error::IndexError;
use super::postgres_tls::MakeTls;
use super::schema;
use super::sqlite::LONGEST;

/// How long the server may take to let somebody in.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take at most, where the server itself does not say; beyond it the connection is given up.
const SILENT: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub(crate) struct Postgres {
    config: Config,
    place: String,
    client: Mutex<Option<Client>>,
}

impl Postgres {
    /// Connects; the URL is libpq's, `postgres://user:password@host/database`, or with `?host=/run/postgresql` by a unix
    /// socket. Beyond this machine it is TLS, unless `sslmode=disable` is said.
    pub(crate) async fn open(url: &str) -> Result<Self, IndexError> {
        let place = place_of(url);
        let unreachable = |why: String| IndexError::Unreachable { place: place.clone(), why };
        let mut config: Config = url.parse().map_err(|error| unreachable(chain(&error)))?;
        config.application_name("portcullis").keepalives_idle(Duration::from_secs(60));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_ssl_mode() == SslMode::Prefer && !stays_here(&config) {
            // "prefer" would let whoever is between do without
            config.ssl_mode(SslMode::Require);
        }
        let this = Self { config, place: place.clone(), client: Mutex::default() };
        drop(this.client().await?);
        Ok(this)
    }

    /// The connection, which nobody else has meanwhile.
    async fn client(&self) -> Result<MutexGuard<'_, Option<Client>>, IndexError> {
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = None;
            let made = tokio::time::timeout(CONNECT * 3, self.connect()).await;
            *client = Some(made.unwrap_or_else(|_| Err(self.unreachable("it does not answer".to_owned())))?);
        }
        Ok(client)
    }

    async fn connect(&self) -> Result<Client, IndexError> {
        let refused = |error: tokio_postgres::Error| self.unreachable(chain(&error));
        let mut client = if by_socket(&self.config) || self.config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
            tokio::spawn(connection);
            client
        } else {
            let tls = MakeTls::with_the_systems_roots().map_err(|why| self.unreachable(why))?;
            let (client, connection) = self.config.connect(tls).await.map_err(refused)?;
            tokio::spawn(connection);
            client
        };
        self.prepare(&mut client).await?;
        Ok(client)
    }

    /// Makes the tables where they are not there, in a schema of their own.
    async fn prepare(&self, client: &mut Client) -> Result<(), IndexError> {
        let failed = |error: tokio_postgres::Error| self.told(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        // several gateways may start at once
        transaction.batch_execute("SELECT pg_advisory_xact_lock(7311405)").await.map_err(failed)?;
        let there = transaction
            .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = 'portcullis'", &[])
            .await
            .map_err(failed)?;
        if there.is_none() {
            transaction
                .batch_execute(
                    "CREATE SCHEMA portcullis; CREATE TABLE portcullis.schema_version (version bigint NOT NULL);
                     INSERT INTO portcullis.schema_version VALUES (0)",
                )
                .await
                .map_err(failed)?;
        }
        transaction.batch_execute("SET search_path TO portcullis").await.map_err(failed)?;
        let row = transaction.query_one("SELECT max(version) FROM schema_version", &[]).await.map_err(failed)?;
        let found = row.try_get::<_, Option<i64>>(0).map_err(failed)?.unwrap_or_default();
        for (version, sql) in schema::missing(Dialect::Postgres, found, &self.place)? {
            transaction.batch_execute(sql).await.map_err(failed)?;
            transaction.execute("UPDATE schema_version SET version = $1", &[&version]).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        let settings = format!("SET statement_timeout = '{}s'; SET jit = off", LONGEST.as_secs());
        client.batch_execute(&settings).await.map_err(failed)
    }

    async fn ask(&self, statement: &Statement) -> Result<Vec<Row>, IndexError> {
        let client = self.client().await?;
        let Some(client) = client.as_ref() else { return Err(self.unreachable("it is not connected".to_owned())) };
        let answer = self.in_time(client.query_typed(&numbered(&statement.sql), &typed(statement))).await?;
        answer.iter().map(|row| self.owned(row)).collect()
    }

    async fn do_all(&self, statements: &[Statement]) -> Result<Vec<u64>, IndexError> {
        let mut client = self.client().await?;
        let Some(client) = client.as_mut() else { return Err(self.unreachable("it is not connected".to_owned())) };
        let transaction = self.in_time(client.transaction()).await?;
        let mut changed = Vec::with_capacity(statements.len());
        for statement in statements {
            let (sql, values) = (numbered(&statement.sql), typed(statement));
            changed.push(self.in_time(transaction.execute_typed(&sql, &values)).await?);
        }
        self.in_time(transaction.commit()).await?;
        Ok(changed)
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, IndexError> {
        match tokio::time::timeout(SILENT, answer).await {
            Ok(answer) => answer.map_err(|error| self.told(&error)),
            Err(_) => Err(self.unreachable("it does not answer".to_owned())),
        }
    }

    fn owned(&self, row: &tokio_postgres::Row) -> Result<Row, IndexError> {
        let value = |(place, column): (usize, &tokio_postgres::Column)| {
            let kind = column.type_();
            let value = if *kind == Type::FLOAT8 {
                row.try_get::<_, Option<f64>>(place).map(|value| value.map(Value::Real))
            } else if *kind == Type::TEXT {
                row.try_get::<_, Option<String>>(place).map(|value| value.map(Value::Text))
            } else if *kind == Type::INT4 {
                row.try_get::<_, Option<i32>>(place).map(|value| value.map(|value| Value::Integer(value.into())))
            } else {
                row.try_get::<_, Option<i64>>(place).map(|value| value.map(Value::Integer))
            };
            value.map(|value| value.unwrap_or(Value::Null)).map_err(|error| self.told(&error))
        };
        row.columns().iter().enumerate().map(value).collect::<Result<_, _>>().map(Row)
    }

    fn unreachable(&self, why: String) -> IndexError {
        IndexError::Unreachable { place: self.place.clone(), why }
    }

    fn told(&self, error: &tokio_postgres::Error) -> IndexError {
        if error.code() == Some(&SqlState::QUERY_CANCELED) {
            return IndexError::TooLong(LONGEST.as_secs());
        }
        IndexError::Database(format!("{}: {}", self.place, chain(error)))
    }
}

impl Database for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn rows(&self, statement: Statement) -> Answer<'_, Vec<Row>> {
        Box::pin(async move { self.ask(&statement).await })
    }

    fn write(&self, statements: Vec<Statement>) -> Answer<'_, Vec<u64>> {
        Box::pin(async move { self.do_all(&statements).await })
    }
}

/// Whether an index's place is a server.
pub(crate) fn is_url(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

/// A URL as it may be shown: without user, password and parameters, which may have a password as well.
fn place_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("postgres://{rest}")
}

fn by_socket(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
}

/// Whether nothing of it leaves this machine.
fn stays_here(config: &Config) -> bool {
    let here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    };
    config.get_hosts().iter().all(here) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

/// `?1` is `$1` there. No statement has a question mark that is none of these.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

fn typed(statement: &Statement) -> Vec<(&(dyn ToSql + Sync), Type)> {
    let of = |value| match value {
        // the server sees by its place what it is
        &Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Real(_) => Type::FLOAT8,
        Value::Text(_) => Type::TEXT,
        Value::Numbers(_) => Type::INT4_ARRAY,
    };
    statement.values.iter().map(|value| (value as &(dyn ToSql + Sync), of(value))).collect()
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Real(number) => number.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Numbers(numbers) => numbers.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// What the database says, and why it says so; on one line.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut said = error.to_string();
    if let Some(of) = error.as_db_error() {
        said = of.message().to_owned();
    } else {
        let mut source = error.source();
        while let Some(error) = source {
            let more = error.to_string();
            if !said.contains(&more) {
                said = format!("{said}: {more}");
            }
            source = error.source();
        }
    }
    said.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_it_is_tls() {
        for (url, here) in [
            ("postgres://db/gate", false),
            ("postgres://localhost/gate", true),
            ("postgres://127.0.0.1:5433/gate", true),
            ("postgres:///gate?host=/run/postgresql", true),
            ("postgres://localhost,db/gate", false),
            ("postgres://localhost/gate?hostaddr=192.0.2.1", false),
        ] {
            assert_eq!(stays_here(&url.parse().unwrap()), here, "{url}");
        }
    }

    #[test]
    fn a_place_is_told_without_user_and_password() {
        assert_eq!(
            place_of("postgres://ada:se@cret@db:5432/gate?sslmode=require&password=x"),
            "postgres://db:5432/gate"
        );
        assert_eq!(place_of("postgresql:///gate?host=/run/postgresql&password=x"), "postgres:///gate");
    }
}
