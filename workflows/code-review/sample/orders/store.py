"""Orders in a database."""

import sqlite3


def connect(path=":memory:"):
    """A connection to a database that has the tables."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL)")
    return connection


def add(connection, customer, cents):
    """Keeps an order and gives its number."""
    if cents <= 0:
        raise ValueError("an order costs something")
    return connection.execute("INSERT INTO orders (customer, cents) VALUES (?, ?)", (customer, cents)).lastrowid


def of_customer(connection, customer):
    """The orders of a customer, oldest first."""
    rows = connection.execute("SELECT id, cents FROM orders WHERE customer = ? ORDER BY id", (customer,))
    return rows.fetchall()
