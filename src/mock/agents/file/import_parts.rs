//! Imports the parts of an agent file that its agents share: tools, blocks, and folders with their files.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    import_options::Import,
    reading::{invalid_file, items},
    tools::{self as file_tools, make_servers, present_servers},
};
use crate::{
    error::ApiError,
    mock::{
        files::{
            store::{self, Duplicate},
            upload,
        },
        records::{Block, File, Folder, Identity, MOST_FILLED_IN, McpServer, Record, Tool, claims},
        storage::{
            Stored, View, changed_meanwhile, claim, holder_within, insert, parse, project_scope::ProjectScope, update,
        },
        tools::base_tools::{self, BaseTool},
        validation::body::{Fields, Location, Read, TextMap},
    },
    store::{Locks, Tx},
};

/// What was imported from a file so far, by the local ids.
pub(super) struct ImportContext<'a> {
    pub(super) scope: &'a ProjectScope,
    pub(super) import: &'a Import,
    pub(super) tools: HashMap<String, Stored<Tool>>,
    /// The tools of the file, and the existing tools to which its agents refer by name, by name.
    pub(super) tools_by_name: HashMap<String, Stored<Tool>>,
    pub(super) blocks: HashMap<String, String>,
    /// The labels of the blocks, and the lengths of their values in bytes.
    pub(super) labels: HashMap<String, (String, usize)>,
    pub(super) folders: HashMap<String, String>,
    /// The files in the folders.
    pub(super) files: HashMap<String, File>,
    /// How many folders, or files of a folder, have asked for a name. The key is the folder's id, or empty, and the name.
    names: HashMap<(String, String), usize>,
}

impl<'a> ImportContext<'a> {
    pub(super) fn new(scope: &'a ProjectScope, import: &'a Import) -> Self {
        Self {
            scope,
            import,
            tools: HashMap::new(),
            tools_by_name: HashMap::new(),
            blocks: HashMap::new(),
            labels: HashMap::new(),
            folders: HashMap::new(),
            files: HashMap::new(),
            names: HashMap::new(),
        }
    }

    fn project(&self) -> &'a str {
        self.scope.project.as_str()
    }

    /// Imports the tools and MCP servers, and takes all locks that the import needs.
    pub(super) async fn import_tools(
        &mut self,
        tx: &mut Tx,
        view: View<'_>,
        file: &Fields<'_>,
    ) -> Result<(), ApiError> {
        let mut written = Vec::new();
        for tool in items(file, "tools")? {
            let id: String = tool.required("id").map_err(invalid_file)?;
            let name: String = tool.required("name").map_err(invalid_file)?;
            written.push((id, name, tool));
        }
        let mut referenced = Vec::new();
        for agent in items(file, "agents")? {
            referenced.extend(agent.optional::<Vec<&str>>("tools").map_err(invalid_file)?.unwrap_or_default());
        }
        let mut present: HashMap<&str, String> = HashMap::new();
        let names = written.iter().map(|(_, name, _)| name.as_str()).chain(referenced.iter().copied());
        for name in names.filter(|name| base_tools::by_name(name).is_none()) {
            if let Some(holder) = holder_within(tx, claims::TOOL, self.project(), name).await? {
                present.insert(name, holder);
            }
        }
        let servers = present_servers(tx, self.project(), file).await?;
        let locks = Locks::of(Tool::KIND, present.values())
            .and(Identity::KIND, &self.import.identity_ids)
            .and(McpServer::KIND, servers.values());
        let locked = tx.lock(&locks).await?;
        tx.lock_names(self.project()).await?;
        make_servers(tx, self.project(), file, &locked).await?;
        for (id, name, tool) in &written {
            let tool = match (base_tools::by_name(name), present.get(name.as_str())) {
                (Some(tool), _) => built_in(tool),
                (None, Some(holder)) => {
                    let stored = locked.get(Tool::KIND, holder).map(parse::<Tool>).transpose()?;
                    let stored = stored.filter(|stored| stored.record.name == *name);
                    self.change_tool(tx, stored.ok_or_else(|| changed_meanwhile(name))?, tool).await?
                }
                (None, None) => self.make_tool(tx, view, name, tool).await?,
            };
            self.tools_by_name.insert(name.clone(), tool.clone());
            self.tools.insert(id.clone(), tool);
        }
        for name in referenced {
            if let (false, Some(holder)) = (self.tools_by_name.contains_key(name), present.get(name)) {
                let stored = locked.get(Tool::KIND, holder).map(parse::<Tool>).transpose()?;
                let stored = stored.filter(|stored| stored.record.name == name);
                self.tools_by_name.insert(name.to_owned(), stored.ok_or_else(|| changed_meanwhile(name))?);
            }
        }
        Ok(())
    }

    /// Changes an existing tool to what the file says, if the options say so.
    async fn change_tool(
        &self,
        tx: &mut Tx,
        mut present: Stored<Tool>,
        written: &Fields<'_>,
    ) -> Result<Stored<Tool>, ApiError> {
        let written = file_tools::read(&present.record.name, written, None)?;
        if self.import.overrides_tools {
            file_tools::replace(&mut present.record, written);
            update(tx, &present.record).await?;
        }
        Ok(present)
    }

    async fn make_tool(
        &self,
        tx: &mut Tx,
        view: View<'_>,
        name: &str,
        written: &Fields<'_>,
    ) -> Result<Stored<Tool>, ApiError> {
        let tool = file_tools::read(name, written, self.scope.shown.as_deref())?;
        match claim(tx, claims::TOOL, self.project(), name, &tool.id).await? {
            None => insert(tx, self.project(), None, &tool).await?,
            // Another tool in the file has the same name.
            Some(id) if self.tools.values().any(|made| made.record.id == id) => {
                let made = view.get_within::<Tool>(tx, &id).await?;
                return self.change_tool(tx, made, written).await;
            }
            Some(_) => return Err(changed_meanwhile(name)),
        }
        Ok(Stored { seq: 0, project: self.project().to_owned(), record: tool })
    }

    pub(super) async fn import_blocks(&mut self, tx: &mut Tx, file: &Fields<'_>) -> Result<(), ApiError> {
        let variables = self.variables()?;
        let mut left = MOST_FILLED_IN;
        for written in items(file, "blocks")? {
            let id: String = written.required("id").map_err(invalid_file)?;
            let mut block = Block::create(&written).map_err(invalid_file)?;
            block.project_id.clone_from(&self.scope.shown);
            block.deployment_id.clone_from(&self.import.deployment_id);
            block.fill_in(&variables, &mut left)?;
            insert(tx, self.project(), None, &block).await?;
            self.labels.insert(id.clone(), (block.label, block.value.len()));
            self.blocks.insert(id, block.id);
        }
        Ok(())
    }

    fn variables(&self) -> Result<Map<String, Value>, ApiError> {
        let Some(variables) = self.import.fields.get("memory_variables") else { return Ok(Map::new()) };
        let TextMap(variables) = TextMap::read(variables, &Location::body())?;
        Ok(variables.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    /// Imports the folders, under unique names, with their files.
    pub(super) async fn import_folders(&mut self, tx: &mut Tx, file: &Fields<'_>) -> Result<(), ApiError> {
        let project = self.project();
        for written in items(file, "sources")? {
            let id: String = written.required("id").map_err(invalid_file)?;
            let mut folder = Folder::of_file(&written).map_err(invalid_file)?;
            let name = folder.name.clone();
            // A name that the file repeats continues with the next number.
            let number = self.names.entry((String::new(), name.clone())).or_default();
            if *number > 0 {
                folder.name = format!("{name}_({number})");
            }
            while claim(tx, claims::FOLDER, project, &folder.name, &folder.id).await?.is_some() {
                *number += 1;
                folder.name = format!("{name}_({number})");
            }
            *number += 1;
            insert(tx, self.project(), None, &folder).await?;
            self.folders.insert(id.clone(), folder.id.clone());
            let folder = Stored { seq: 0, project: self.project().to_owned(), record: folder };
            for file in items(file, "files")? {
                if file.required::<&str>("source_id").map_err(invalid_file)? == id {
                    let id: String = file.required("id").map_err(invalid_file)?;
                    let file_name: &str = file.required("file_name").map_err(invalid_file)?;
                    // Letta's files have the folder's name in front.
                    let own = file_name.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('/'));
                    let file_name = own.unwrap_or(file_name);
                    let number = self.names.entry((folder.record.id.clone(), file_name.to_owned())).or_default();
                    let file = import_file(tx, &folder, &file, file_name, *number).await?;
                    *number += 1;
                    self.files.insert(id, file);
                }
            }
        }
        Ok(())
    }
}

/// A built-in tool, which belongs to every project.
pub(super) fn built_in(tool: &BaseTool) -> Stored<Tool> {
    Stored { seq: 0, project: String::new(), record: tool.tool() }
}

/// Imports a file into a folder. `number` is how many files of the folder asked for its name before.
async fn import_file(
    tx: &mut Tx,
    folder: &Stored<Folder>,
    written: &Fields<'_>,
    name: &str,
    number: usize,
) -> Result<File, ApiError> {
    let media_type: &str = written.optional("file_type").map_err(invalid_file)?.unwrap_or("text/plain");
    let text: String = written.optional("content").map_err(invalid_file)?.unwrap_or_default();
    let size = written.at_least("file_size", 0).map_err(invalid_file)?.and_then(|size| usize::try_from(size).ok());
    let mut file = store::new_file(&folder.record, name, media_type, size.unwrap_or(text.len()));
    if number > 0 {
        file.name = upload::numbered(name, number);
    }
    store::take_name(tx, folder, &mut file, Duplicate::Suffix).await?;
    store::store(tx, folder, &mut file, &upload::text(text.as_bytes(), media_type)).await?;
    Ok(file)
}
