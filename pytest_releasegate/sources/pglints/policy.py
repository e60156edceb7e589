"""A row security policy as the lints see it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "POLICIES", "Policy"]

COMMANDS: dict[str, tuple[str, ...]] = {"r": ("select",), "a": ("insert",), "w": ("update",), "d": ("delete",)}
COMMANDS["*"] = tuple(word for words in COMMANDS.values() for word in words)

POLICIES = """
select n.nspname::text, c.relname::text, quote_ident(c.relname), n.nspname || '.' || c.relname,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relrowsecurity,
       p.polname::text, quote_ident(p.polname), p.polpermissive, p.polcmd::text, 0 = any(p.polroles),
       array(select rolname::text from pg_catalog.pg_roles o where o.oid = any(p.polroles) order by rolname),
       array(select a.name from api_role a
             where not a.bypasses and exists (select from unnest(p.polroles) x
                                              where case when x = 0 then true else pg_has_role(a.oid, x, 'USAGE') end)
             order by a.name),
       array(select rolname::text from pg_catalog.pg_roles o
             where o.oid = any(p.polroles) and (rolbypassrls or rolsuper)),
       coalesce(pg_get_expr(p.polqual, p.polrelid), ''), coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''),
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and a.attnotnull and not a.attisdropped),
       exists (select from relation r where r.oid = c.oid)
from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where exists (select from relation r where r.oid = c.oid) or (n.nspname = 'storage' and c.relname = 'objects')
order by n.nspname, c.relname, p.polname
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, with the API's roles that it applies to; its conditions are written with full names."""

    schema: str
    table: str
    table_sql: str
    label: str
    sql: str
    enabled: bool
    name: str
    name_sql: str
    permissive: bool
    code: str
    public: bool
    named: tuple[str, ...]
    api_roles: tuple[str, ...]
    bypassing: tuple[str, ...]
    using: str
    check: str
    never_null: tuple[str, ...]
    own: bool
    """Its table is the user's; else it is of storage.objects."""

    @property
    def object(self) -> str:
        """Its name as people write it."""
        return f"{self.label}: {self.name}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that it speaks of."""
        return COMMANDS[self.code]

    @property
    def command(self) -> str:
        """The command as it is declared."""
        return "all" if self.code == "*" else self.commands[0]

    @property
    def writes(self) -> bool:
        """It speaks of more than reading."""
        return self.code != "r"

    @property
    def drop(self) -> str:
        """The SQL that removes it."""
        return f"drop policy {self.name_sql} on {self.sql};"

    @property
    def alter(self) -> str:
        """How the SQL that changes it begins."""
        return f"alter policy {self.name_sql} on {self.sql}"

    @property
    def applied_to(self) -> str:
        """Its roles, in words."""
        return "PUBLIC" if self.public else ", ".join(self.named)
