//! Archival memory: finding, filling and searching archives.

use crate::{
    error::ApiError,
    mock::{
        budget::{Budget, offload},
        records::{Agent, Archive, NewPassage, Passage, Record, Timestamp, links},
        storage::{Stored, insert, parse, update},
        text::terms::{Terms, tagged},
    },
    store::{DocumentFilter, Locks, Store, Tx},
};

/// The most passages that are read at once.
const CHUNK: i64 = 500;

/// The archive of an agent; `None` if it has no passages yet.
pub(in crate::mock) async fn archive_of(store: &Store, agent_id: &str) -> Result<Option<Stored<Archive>>, ApiError> {
    let archives = DocumentFilter::linked_from(Archive::KIND, links::AGENT_ARCHIVE, agent_id).limit(1);
    store.documents(&archives).await?.into_iter().next().map(parse).transpose()
}

/// Inserts passages into the archive of an agent, which is created if there is none. The caller holds the lock on the
/// agent's document, so that no second archive is created at the same time.
pub(in crate::mock) async fn remember(
    tx: &mut Tx,
    agent: &Stored<Agent>,
    new: Vec<NewPassage>,
) -> Result<Vec<Passage>, ApiError> {
    let present = tx.linked_documents(links::AGENT_ARCHIVE, &agent.record.id, Archive::KIND).await?;
    let archive = match present.into_iter().next() {
        Some(document) => parse(document)?,
        None => {
            let record = Archive::of_agent(&agent.record);
            insert(tx, &agent.project, None, &record).await?;
            tx.link(links::AGENT_ARCHIVE, &agent.record.id, &record.id).await?;
            Stored { seq: 0, project: agent.project.clone(), record }
        }
    };
    put(tx, archive, new).await
}

/// Inserts passages into an archive.
pub(in crate::mock) async fn put(
    tx: &mut Tx,
    mut archive: Stored<Archive>,
    new: Vec<NewPassage>,
) -> Result<Vec<Passage>, ApiError> {
    if !archive.record.backdated && new.iter().any(|passage| passage.created_at.is_some()) {
        // Read again under the lock: it may have changed.
        if let Some(document) = tx.document_for_update(Archive::KIND, &archive.record.id).await? {
            archive = parse(document)?;
            archive.record.backdated = true;
            update(tx, &archive.record).await?;
        }
    }
    let mut passages = Vec::with_capacity(new.len());
    for passage in new {
        let mut passage = passage.into_passage(archive.record.embedding.clone());
        passage.archive_id = Some(archive.record.id.clone());
        insert(tx, &archive.project, Some(&archive.record.id), &passage).await?;
        passages.push(passage);
    }
    Ok(passages)
}

/// Deletes the archives of agents that are being deleted, if they were created for one of them and no other agent
/// shares them. Must be called before the agents' links are removed; the caller has locked the agents.
pub(in crate::mock) async fn leave(tx: &mut Tx, agents: &[String]) -> Result<(), ApiError> {
    let mut ids = Vec::new();
    for agent in agents {
        let archives = tx.linked_documents(links::AGENT_ARCHIVE, agent, Archive::KIND).await?;
        ids.extend(archives.into_iter().map(|archive| archive.id));
    }
    for document in tx.lock(&Locks::of(Archive::KIND, &ids)).await?.of(Archive::KIND) {
        let archive = parse::<Archive>(document)?.record;
        let is_own = archive.owner.as_ref().is_some_and(|owner| agents.contains(owner));
        let sharing = tx.linked_from(links::AGENT_ARCHIVE, &archive.id).await?;
        if is_own && sharing.iter().all(|agent| agents.contains(agent)) {
            tx.delete_document(Archive::KIND, &archive.id).await?;
        }
    }
    Ok(())
}

/// Where to search.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) enum SearchScope<'a> {
    /// In one archive.
    Archive(&'a str),
    /// In all archives of a project.
    Project(&'a str),
}

/// What to search for.
#[derive(Clone, Debug)]
pub(in crate::mock) struct ArchivalSearch<'a> {
    /// The words; `None` matches every text.
    pub(in crate::mock) query: Option<&'a str>,
    /// Tags; a passage needs one of them, or with `all_tags` all.
    pub(in crate::mock) tags: Vec<String>,
    pub(in crate::mock) all_tags: bool,
    /// The earliest creation time.
    pub(in crate::mock) from: Option<Timestamp>,
    /// The latest creation time.
    pub(in crate::mock) to: Option<Timestamp>,
    /// The most results.
    pub(in crate::mock) limit: usize,
}

/// A result, with its score: above 0, at most 1.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Hit {
    pub(in crate::mock) passage: Passage,
    pub(in crate::mock) score: f64,
}

/// The passages with the best scores; of equal scores, the newest first. Every passage in the scope is read.
///
/// # Errors
/// If the results exceed the budget; if the database fails.
pub(in crate::mock) async fn search(
    store: &Store,
    shelf: SearchScope<'_>,
    search: &ArchivalSearch<'_>,
    budget: &Budget,
) -> Result<Vec<Hit>, ApiError> {
    let mut documents = match shelf {
        SearchScope::Archive(id) => DocumentFilter::of_parent(Passage::KIND, id),
        SearchScope::Project(project) => DocumentFilter::of_project(Passage::KIND, project),
    }
    .newest_first(true)
    .limit(CHUNK);
    let terms = search.query.map(Terms::of);
    let mut found = Vec::new();
    loop {
        let chunk = store.documents_chunk(&documents).await?;
        let Some(last) = chunk.last() else { break };
        documents = documents.before(last.seq);
        for document in chunk {
            let length = document.body.len();
            let passage = parse::<Passage>(document)?.record;
            if let Some(score) = offload(length, || search.fit(&passage, terms.as_ref())) {
                found.push(Hit { passage, score });
            }
        }
        keep_best(&mut found, search.limit);
        budget.draft().charge(found.iter().map(|found| found.passage.text.len()).sum())?;
    }
    Ok(found)
}

/// The sort is stable: of equal scores, the newer, which was found first, stays first.
fn keep_best(found: &mut Vec<Hit>, limit: usize) {
    found.sort_by(|left, right| {
        right.score.total_cmp(&left.score).then(right.passage.created_at.cmp(&left.passage.created_at))
    });
    found.truncate(limit);
}

impl ArchivalSearch<'_> {
    fn fit(&self, passage: &Passage, terms: Option<&Terms>) -> Option<f64> {
        let in_archive = passage.archive_id.is_some();
        let in_time = self.from.is_none_or(|from| passage.created_at >= from)
            && self.to.is_none_or(|to| passage.created_at <= to);
        if !in_archive || !in_time || !tagged(&passage.tags, &self.tags, self.all_tags) {
            return None;
        }
        terms.map_or(Some(1.0), |terms| Some(terms.score(&passage.text)).filter(|score| *score > 0.0))
    }
}
