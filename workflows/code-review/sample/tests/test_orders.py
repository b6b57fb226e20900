import pytest

from orders import price, store


def test_orders_of_a_customer_are_found():
    connection = store.connect()
    number = store.add(connection, "ada", 1200)
    store.add(connection, "grace", 900)
    assert store.of_customer(connection, "ada") == [(number, 1200)]


def test_an_order_costs_something():
    with pytest.raises(ValueError, match="costs something"):
        store.add(store.connect(), "ada", 0)


def test_a_total_adds_up():
    assert price.total([(2, 150), (1, 99)]) == 399
