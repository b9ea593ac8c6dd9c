"""A preprocessor of mdBook: pages of the site for the files that the book links to.

The pages of the book link to sources, to tests and to each other as files of the repository, so that
they can be read there. In the site such a link leads to a page that shows the file, under the
chapter "Sources", or to the page that mdBook makes of a README.md or of the table of contents.

mdBook runs this program, with the book on standard input: see book.toml.
"""

import json
import os
import posixpath
import re
import sys

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^\s*```")
LANGUAGES = {".rs": "rust,ignore", ".toml": "toml", ".py": "python", ".yml": "yaml", ".txt": "text"}


class Site:
    def __init__(self, docs):
        self.docs = docs
        self.root = os.path.dirname(docs)
        # The chapters of the files outside of the book, by their paths from the root.
        self.sources = {}

    def target(self, link, page):
        """The link as the site has it, from a page of which the path begins in docs/."""
        if re.match(r"[a-z]+:|#", link):
            return link
        path, hash_mark, anchor = link.partition("#")
        # From the root of the repository.
        there = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
        if page.startswith("sources/"):
            there = posixpath.normpath(
                posixpath.join(posixpath.dirname(page.removeprefix("sources/")), path)
            )
        if there.startswith("docs/") and os.path.isfile(os.path.join(self.root, there)):
            place = there.removeprefix("docs/")
            if place == "SUMMARY.md":
                place = "toc.html"
            elif posixpath.basename(place) == "README.md":
                place = posixpath.join(posixpath.dirname(place), "index.md")
        elif os.path.exists(os.path.join(self.root, there)):
            place = self.source(there)
        else:
            return link
        return posixpath.relpath(place, posixpath.dirname(page) or ".") + hash_mark + anchor

    def source(self, there):
        """The page of a file or a directory of the repository."""
        name = there if os.path.isfile(os.path.join(self.root, there)) else f"{there}/index"
        place = f"sources/{name.removesuffix('.md')}.md"
        if there not in self.sources:
            self.sources[there] = None
            self.sources[there] = chapter(there, place, self.content(there, place))
        return place

    def content(self, there, place):
        full = os.path.join(self.root, there)
        if os.path.isdir(full):
            names = sorted(name for name in os.listdir(full) if not name.startswith("."))
            return f"# {there}\n\nThe directory has:\n\n" + "".join(f"* `{it}`\n" for it in names)
        with open(full, encoding="utf-8") as file:
            text = file.read()
        if there.endswith(".md"):
            return self.with_links(text, place)
        language = LANGUAGES.get(os.path.splitext(there)[1], "text")
        return f"# {there}\n\n````{language}\n{text}````\n"

    def with_links(self, text, page):
        lines, in_code = [], False
        for line in text.split("\n"):
            in_code ^= bool(FENCE.match(line))
            if not in_code:
                line = LINK.sub(lambda it: it[1] + self.target(it[2], page) + it[3], line)
            lines.append(line)
        return "\n".join(lines)

    def rewrite(self, items):
        for item in items:
            if isinstance(item, dict) and "Chapter" in item:
                page = item["Chapter"]["source_path"] or ""
                item["Chapter"]["content"] = self.with_links(item["Chapter"]["content"], page)
                self.rewrite(item["Chapter"]["sub_items"])


def chapter(name, path, content, sub_items=()):
    return {
        "Chapter": {
            "name": name,
            "content": content,
            "number": None,
            "sub_items": list(sub_items),
            "path": path,
            "source_path": path,
            "parent_names": [] if path == "sources/index.md" else ["Sources"],
        }
    }


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2] == "html" else 1)
    context, book = json.load(sys.stdin)
    site = Site(os.path.abspath(context["root"]))
    items = book["items"] if "items" in book else book["sections"]
    site.rewrite(items)
    sources = [site.sources[there] for there in sorted(site.sources)]
    text = "# Sources\n\nThe files that the book links to, as they are in the repository.\n"
    items.append(chapter("Sources", "sources/index.md", text, sources))
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
