//! What a push brought, as the pre-receive hook sees it: git keeps the new objects apart until the hook has agreed, and
//! tells it by its environment where they are.

use git2::ObjectType;

use super::failed;
use crate::{Result, model::CommitId};

/// The largest commit or tag that is taken for one, in bytes.
const SIZE_LIMIT: usize = 16 << 20;
/// How many tags of tags are followed.
const TAGS_LIMIT: usize = 100;

/// A repository together with the objects of a push that is not taken in yet.
pub struct Incoming {
    repository: git2::Repository,
}

impl Incoming {
    /// Opens the repository that git runs this process for, as a hook.
    ///
    /// # Errors
    /// `SourceError::Unreadable`.
    pub fn open() -> Result<Incoming> {
        let repository = git2::Repository::open_from_env().map_err(|error| failed(&error))?;
        Ok(Incoming { repository })
    }

    /// The commit that an object is, or that it is a tag of; none where it is something else.
    ///
    /// # Errors
    /// `SourceError::Unreadable`.
    pub fn commit_of(&self, object: CommitId) -> Result<Option<CommitId>> {
        commit_of(&self.repository, object)
    }

    /// Whether the history of a commit ends in a commit whose parents are not there: it comes from a shallow clone, and
    /// the repository did not have the rest before.
    ///
    /// # Errors
    /// `SourceError::Unreadable`.
    pub fn is_cut_off(&self, commit: CommitId) -> Result<bool> {
        let failed = |error: git2::Error| failed(&error);
        let odb = self.repository.odb().map_err(failed)?;
        let mut walk = self.repository.revwalk().map_err(failed)?;
        walk.push(commit.oid()).map_err(failed)?;
        // What was there before is whole.
        walk.hide_glob("refs/*").map_err(failed)?;
        for found in walk {
            let parents = found.and_then(|id| Ok(self.repository.find_commit(id)?.parent_ids().collect::<Vec<_>>()));
            match parents {
                Ok(parents) if parents.iter().all(|parent| odb.exists(*parent)) => {}
                Ok(_) => return Ok(true),
                Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(true),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(false)
    }
}

pub(super) fn commit_of(repository: &git2::Repository, object: CommitId) -> Result<Option<CommitId>> {
    let odb = repository.odb().map_err(|error| failed(&error))?;
    let mut id = object.oid();
    for _ in 0..TAGS_LIMIT {
        // Looked at before it is read: a file of any size can be pushed as a branch, and libgit2 reads all of it.
        let (size, kind) = odb.read_header(id).map_err(|error| failed(&error))?;
        match kind {
            ObjectType::Commit if size <= SIZE_LIMIT => return Ok(Some(CommitId::from(id))),
            ObjectType::Tag if size <= SIZE_LIMIT => {
                id = repository.find_tag(id).map_err(|error| failed(&error))?.target_id();
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// A repository with the commits of a branch `main`, oldest first.
    fn repository(commits: usize) -> Result<(tempfile::TempDir, Incoming, Vec<CommitId>)> {
        let directory = tempfile::tempdir().map_err(Error::bug)?;
        let repository = git2::Repository::init_bare(directory.path()).map_err(Error::bug)?;
        let mut ids: Vec<CommitId> = Vec::new();
        for number in 0..commits {
            let tree = repository.treebuilder(None).and_then(|tree| tree.write()).map_err(Error::bug)?;
            let tree = repository.find_tree(tree).map_err(Error::bug)?;
            let who = git2::Signature::new("a", "a@example.test", &git2::Time::new(number as i64, 0));
            let who = who.map_err(Error::bug)?;
            let parent = ids.last().map(|id| repository.find_commit(id.oid())).transpose().map_err(Error::bug)?;
            let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
            let id = repository.commit(None, &who, &who, "x", &tree, &parents).map_err(Error::bug)?;
            ids.push(CommitId::from(id));
        }
        Ok((directory, Incoming { repository }, ids))
    }

    fn remove(directory: &tempfile::TempDir, id: CommitId) -> Result<()> {
        let text = id.to_string();
        let path = directory.path().join("objects").join(&text[..2]).join(&text[2..]);
        std::fs::remove_file(path).map_err(Error::io("remove an object"))
    }

    #[test]
    fn a_history_is_cut_off_where_parents_are_missing() -> Result<()> {
        for is_first in [true, false] {
            let (directory, incoming, ids) = repository(5)?;
            if !is_first {
                incoming.repository.reference("refs/heads/main", ids[1].oid(), true, "x").map_err(Error::bug)?;
            }
            assert!(!incoming.is_cut_off(ids[4])?);
            remove(&directory, ids[2])?;
            assert!(incoming.is_cut_off(ids[4])?, "{is_first}");
            assert!(incoming.is_cut_off(ids[3])?, "{is_first}");
            assert!(!incoming.is_cut_off(ids[1])?, "{is_first}");
        }
        Ok(())
    }

    #[test]
    fn a_tag_is_followed_to_its_commit_and_a_tree_is_none() -> Result<()> {
        let (_directory, incoming, ids) = repository(1)?;
        let repository = &incoming.repository;
        let commit = repository.find_commit(ids[0].oid()).map_err(Error::bug)?;
        let tree = CommitId::from(commit.tree_id());
        let who = git2::Signature::new("a", "a@example.test", &git2::Time::new(0, 0)).map_err(Error::bug)?;
        let tag = repository.tag("v1", commit.as_object(), &who, "one", false).map_err(Error::bug)?;
        let object = repository.find_object(tag, None).map_err(Error::bug)?;
        let outer = repository.tag("v1-again", &object, &who, "two", false).map_err(Error::bug)?;
        for id in [ids[0], CommitId::from(tag), CommitId::from(outer)] {
            assert_eq!(incoming.commit_of(id)?, Some(ids[0]));
        }
        assert_eq!(incoming.commit_of(tree)?, None);
        Ok(())
    }
}
