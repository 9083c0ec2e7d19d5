use rusqlite::params;

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    model::{Actor, AppId, Noun, Override, ProcessType, Property, PropertyChange, PropertyRow, Scope},
};

impl Tables<'_> {
    /// What is set for all apps and, where one is given, for an app and its process types. The nearest comes last.
    pub fn properties(&self, app_id: Option<AppId>) -> Result<Vec<PropertyRow>> {
        let mut rows = self.all(
            "SELECT scope, process, noun, name, value, sealed, actor, set_at FROM properties
             WHERE coalesce(app_id, 0) IN (0, ?1)",
            [app_id],
            |row| {
                let process: String = row.get("process")?;
                let process: Option<ProcessType> =
                    if process.is_empty() { None } else { Some(process.parse().map_err(corrupt)?) };
                let (noun, name): (String, String) = (row.get("noun")?, row.get("name")?);
                let property = Noun::ALL.into_iter().find(|known| known.as_str() == noun);
                let property = property.and_then(|noun| Property::find(noun, &name));
                let opened = self.unseal(row.get::<_, Option<Vec<u8>>>("sealed")?.as_deref()).map_err(corrupt)?;
                Ok(PropertyRow {
                    set: Override {
                        scope: Scope::parse(&row.get::<_, String>("scope")?, process).map_err(corrupt)?,
                        property: property
                            .ok_or_else(|| corrupt(Error::bug(format!("there is no property {noun}.{name}"))))?,
                        value: opened.map_or_else(|| row.get("value"), Ok)?,
                    },
                    actor: row.get("actor")?,
                    set_at: row.get("set_at")?,
                })
            },
        )?;
        rows.sort_by(|left, right| (&left.set.scope, left.set.property).cmp(&(&right.set.scope, right.set.property)));
        Ok(rows)
    }

    /// What is set for an app, its process types and all apps, of the properties that are part of every release.
    pub fn overrides(&self, app_id: AppId) -> Result<Vec<Override>> {
        let rows = self.properties(Some(app_id))?.into_iter().map(|row| row.set);
        Ok(rows.filter(|set| set.property.is_of_release()).collect())
    }

    /// Sets and clears properties, those of an app where one is given. A value that is set already stays as it is,
    /// with who set it.
    pub fn change_properties(&self, app_id: Option<AppId>, changes: &[PropertyChange], actor: &Actor) -> Result<()> {
        let before = self.properties(app_id)?;
        for PropertyChange { scope, property, value } in changes {
            let is_set = |row: &PropertyRow| {
                row.set.scope == *scope && row.set.property == *property && Some(&row.set.value) == value.as_ref()
            };
            if before.iter().any(is_set) {
                continue;
            }
            let app_id = app_id.filter(|_| matches!(scope, Scope::App | Scope::Process(_)));
            let process = scope.process().map_or("", ProcessType::as_str);
            match value {
                Some(value) => self.execute(
                    "INSERT INTO properties (scope, app_id, process, noun, name, value, actor, set_at, sealed)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (coalesce(app_id, 0), process, noun, name) DO UPDATE
                     SET value = excluded.value, sealed = excluded.sealed, actor = excluded.actor,
                         set_at = excluded.set_at",
                    params![
                        scope.as_str(),
                        app_id,
                        process,
                        property.noun.as_str(),
                        property.name,
                        property.shown(value),
                        actor,
                        clock::now(),
                        if property.secret { self.seal(value)? } else { None },
                    ],
                )?,
                None => self.execute(
                    "DELETE FROM properties
                     WHERE coalesce(app_id, 0) = coalesce(?1, 0) AND process = ?2 AND noun = ?3 AND name = ?4",
                    params![app_id, process, property.noun.as_str(), property.name],
                )?,
            };
        }
        Ok(())
    }
}

impl Tables<'_> {
    /// Seals the values of secret properties that are kept in clear.
    pub(super) fn seal_properties(&self) -> Result<()> {
        let clear = self.all("SELECT id, noun, name, value FROM properties WHERE sealed IS NULL", [], |row| {
            Ok((
                row.get::<_, i64>("id")?,
                row.get::<_, String>("noun")?,
                row.get::<_, String>("name")?,
                row.get("value")?,
            ))
        })?;
        for (id, noun, name, value) in clear {
            let value: String = value;
            let noun = Noun::ALL.into_iter().find(|known| known.as_str() == noun);
            if let Some(property) = noun.and_then(|noun| Property::find(noun, &name)).filter(|property| property.secret)
            {
                self.execute(
                    "UPDATE properties SET value = ?2, sealed = ?3 WHERE id = ?1",
                    params![id, property.shown(&value), self.seal(&value)?],
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::property, store::Store};

    fn change(scope: Scope, property: &'static Property, value: Option<&str>) -> PropertyChange {
        PropertyChange { scope, property, value: value.map(str::to_owned) }
    }

    #[test]
    fn a_value_has_one_place_and_keeps_who_set_it() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let mut store = Store::open(&directory.path().join("db"))?;
        let (ann, bob) = (Actor::Key("ann".to_owned()), Actor::Key("bob".to_owned()));
        let web = || Scope::Process(ProcessType::web());
        store.write(|tables| {
            let app = tables.create_app(&"blog".parse()?)?.id;
            let other = tables.create_app(&"shop".parse()?)?.id;
            let first = [
                change(Scope::App, &property::MEMORY, Some("1g")),
                change(web(), &property::MEMORY, Some("2g")),
                change(Scope::App, &property::KEEP_IMAGES, Some("3")),
            ];
            tables.change_properties(Some(app), &first, &ann)?;
            tables.change_properties(None, &[change(Scope::Global, &property::CPUS, Some("2"))], &ann)?;
            let second =
                [change(Scope::App, &property::MEMORY, Some("1g")), change(web(), &property::MEMORY, Some("3g"))];
            tables.change_properties(Some(app), &second, &bob)?;

            let rows = tables.properties(Some(app))?;
            let found: Vec<_> = rows
                .iter()
                .map(|row| (row.set.scope.as_str(), row.set.property.name, &*row.set.value, row.actor.as_deref()))
                .collect();
            let expected = [
                ("global", "cpus", "2", Some("key:ann")),
                ("app", "keep.images", "3", Some("key:ann")),
                ("app", "memory", "1g", Some("key:ann")),
                ("process", "memory", "3g", Some("key:bob")),
            ];
            assert_eq!(found, expected);
            assert_eq!(tables.properties(Some(other))?.len(), 1);
            assert_eq!(tables.overrides(app)?.len(), 3, "what a release does not hold is not in it");

            tables.change_properties(Some(app), &[change(web(), &property::MEMORY, None)], &bob)?;
            assert_eq!(tables.overrides(app)?.len(), 2);
            tables.delete_app(app)?;
            assert_eq!(tables.properties(Some(app))?.len(), 1, "an app's go with it");
            Ok(())
        })
    }
}
