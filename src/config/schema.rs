//! The JSON schema of `gateway.toml`, for editors and for `config/gateway.schema.json`.

use super::Config;

/// The schema, as pretty JSON with a line feed at its end.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    format!("{:#}\n", schema.as_value())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_in_config_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.schema.json");
        let fresh = super::schema();
        if std::env::var_os("PORTCULLIS_UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap();
        assert!(
            kept == fresh,
            "config/gateway.schema.json is stale: PORTCULLIS_UPDATE_SCHEMA=1 cargo test --lib schema"
        );
    }
}
