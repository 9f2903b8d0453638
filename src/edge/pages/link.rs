//! ES modules into few scripts: a visitor on a slow line should not pay a request for each. Nothing is parsed that is not
//! a whole line: the modules keep to one form of `import` and `export`, and what does not is a fault that a test finds.

use std::fmt::Write;

/// A script that is served: modules in the order in which they run.
#[derive(Default)]
pub struct Script {
    /// Its file.
    pub name: String,
    /// The modules in it.
    pub modules: Vec<String>,
    /// Its text.
    pub text: String,
    /// Lines that could not be understood.
    pub faults: Vec<String>,
}

/// The script that begins at module `entry`, without what is in the scripts `before` it. Each module keeps a scope of its
/// own, so that names need not differ.
pub fn link(entry: &str, before: &[&Script], read: &dyn Fn(&str) -> Option<String>) -> Script {
    let mut script = Script { name: entry.to_owned(), ..Default::default() };
    let mut imports = String::new();
    let mut under_way = Vec::new();
    add(entry, before, read, &mut script, &mut imports, &mut under_way);
    let spaces: Vec<String> = script.modules.iter().map(|module| space(module)).collect();
    let source = read(entry).unwrap_or_default();
    let own = names_of(&source);
    script.text = format!("{imports}{}export {{ {} }};\n", script.text, spaces.join(", "));
    if !own.is_empty() {
        // What imports the script by the entry's name finds what the entry exports.
        _ = writeln!(script.text, "export const {{ {} }} = {};", own.join(", "), space(entry));
    }
    script
}

fn add(
    module: &str,
    before: &[&Script],
    read: &dyn Fn(&str) -> Option<String>,
    script: &mut Script,
    imports: &mut String,
    under_way: &mut Vec<String>,
) {
    if script.modules.iter().any(|known| known == module) {
        return;
    }
    if let Some(other) = before.iter().find(|other| other.modules.iter().any(|known| known == module)) {
        let line = format!("import {{ {} }} from \"./{}\";\n", space(module), other.name);
        if !imports.contains(&line) {
            imports.push_str(&line);
        }
        return;
    }
    let Some(source) = read(module) else {
        script.faults.push(format!("{module}: there is no such module"));
        return;
    };
    if under_way.iter().any(|known| known == module) {
        script.faults.push(format!("{module}: imports itself, by others"));
        return;
    }
    under_way.push(module.to_owned());
    let mut body = String::new();
    for line in source.lines() {
        match import(line) {
            Some((names, from)) => {
                add(from, before, read, script, imports, under_way);
                _ = writeln!(body, "const {{ {} }} = {};", names.replace(" as ", ": "), space(from));
            }
            None => body.push_str(&own_line(module, line, &mut script.faults)),
        }
    }
    under_way.pop();
    let exports = names_of(&source).join(", ");
    _ = write!(script.text, "const {} = (() => {{\n{body}return {{ {exports} }};\n}})();\n", space(module));
    script.modules.push(module.to_owned());
}

/// A line that is no import: without its `export`.
fn own_line(module: &str, line: &str, faults: &mut Vec<String>) -> String {
    let word = line.split([' ', '(']).next().unwrap_or_default();
    let exported = line.strip_prefix("export ");
    let is_odd = word == "import" || word == "await" || exported.is_some_and(|rest| declared(rest).is_none());
    if is_odd {
        faults.push(format!("{module}: {line}"));
    }
    format!("{}\n", exported.unwrap_or(line))
}

/// `import { … } from "./x.mjs";` → the names, and x.mjs.
fn import(line: &str) -> Option<(&str, &str)> {
    let (names, rest) = line.strip_prefix("import { ")?.split_once(" } from \"./")?;
    Some((names, rest.strip_suffix("\";")?))
}

/// The name that `function f(…`, `async function f(…`, `class C …` or `const c = …` declares. Not `let`: who imports one
/// would not see it change.
fn declared(rest: &str) -> Option<&str> {
    let kinds = ["async function ", "function ", "class ", "const "];
    let after = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
    (end > 0).then(|| &after[..end])
}

fn names_of(source: &str) -> Vec<&str> {
    source.lines().filter_map(|line| declared(line.strip_prefix("export ")?)).collect()
}

/// What a module's exports are called among the others of a script.
fn space(module: &str) -> String {
    format!("${}", module.trim_end_matches(".mjs").replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Option<String> {
        let source = match name {
            "a.mjs" => "import { two as b, C } from \"./b.mjs\";\nexport const one = b() + new C().n;\n",
            "b.mjs" => {
                "const n = 1;\nexport function two() {\n  return n + 1;\n}\nexport class C { n = 3; }\n"
            }
            "late.mjs" => "import { two } from \"./b.mjs\";\nexport const three = two() + 1;\n",
            "loop.mjs" => "import { x } from \"./pool.mjs\";\nexport const y = x;\n",
            "pool.mjs" => "import { y } from \"./loop.mjs\";\nexport const x = y;\n",
            "odd.mjs" => {
                "import * as b from \"./b.mjs\";\nexport let n = 1;\nexport default n;\nawait b;\nimport(\"./b.mjs\");\n"
            }
            _ => return None,
        };
        Some(source.to_owned())
    }

    #[test]
    fn modules_run_in_order_each_in_its_scope() {
        let a = link("a.mjs", &[], &read);
        assert_eq!(a.faults, Vec::<String>::new());
        let wanted = "const $b = (() => {\nconst n = 1;\nfunction two() {\n  return n + 1;\n}\nclass C { n = 3; }\nreturn { two, C };\n})();\n\
                      const $a = (() => {\nconst { two: b, C } = $b;\nconst one = b() + new C().n;\nreturn { one };\n})();\n\
                      export { $b, $a };\nexport const { one } = $a;\n";
        assert_eq!(a.text, wanted);
    }

    #[test]
    fn what_an_earlier_script_has_is_imported_from_it() {
        let a = link("a.mjs", &[], &read);
        let late = link("late.mjs", &[&a], &read);
        assert!(late.text.starts_with("import { $b } from \"./a.mjs\";\nconst $late = "), "{}", late.text);
        assert_eq!(late.modules, ["late.mjs"]);
    }

    #[test]
    fn what_cannot_be_linked_is_a_fault() {
        assert_eq!(link("loop.mjs", &[], &read).faults, ["loop.mjs: imports itself, by others"]);
        assert_eq!(link("none.mjs", &[], &read).faults, ["none.mjs: there is no such module"]);
        assert_eq!(link("odd.mjs", &[], &read).faults.len(), 5);
    }
}
