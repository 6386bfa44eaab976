"""Decides whether an adapter's change of a shared weight is for one layer or for all layers that share it."""

from services.engine.adapters.places import Place, Places
from services.engine.adapters.updates import Product, Updates


class Sharing:
    """The weights that layers of a model share, such as embeddings and the output layer, as an adapter changes them."""

    def __init__(self, updates: Updates, places: Places) -> None:
        self._updates, self._places = updates, places
        self.products: list[Product] = []
        """The adapter's products without the copies that PEFT saves where it trained several layers as one."""
        for product in updates.products:
            if not (updates.ties and any(self._are_one(product, other) for other in self.products)):
                self.products.append(product)

    def replaced(self, place: Place) -> Place:
        """Returns the weight that a whole trained one replaces: unshared, unless the layers were trained as one."""
        return place if self._updates.ties else self._places.own(place)

    def added(self, place: Place) -> Place:
        """Returns the weight that a product is added to, in the same way."""
        if self._updates.ties and sum(self._shares(place, product.module) for product in self.products) < 2:
            return place
        return self._places.own(place)

    def rows(self, layer: str, place: Place) -> Place:
        """Returns the weight of trained token rows: rows of embeddings are for all layers that have no other rows."""
        found = {name: rows for name, rows in self._updates.rows.items() if self._shares(place, name)}
        own, tokens = found.pop(layer), self._updates.tokens(layer)
        if found:
            same = all(tokens == self._updates.tokens(name) and own.equal(rows) for name, rows in found.items())
        else:
            same = self._places.embed(place)
        return place if same else self._places.own(place)

    def _shares(self, place: Place, layer: str) -> bool:
        other = self._places.of(f"{layer}.weight")
        return other is not None and other.whole is place.whole

    def _are_one(self, product: Product, other: Product) -> bool:
        """Returns whether two products are copies: of embeddings, and of a linear layer that shares their weight."""
        if not (product.first.T.equal(other.second) and product.second.T.equal(other.first)):
            return False
        place, rank = self._places.of(f"{product.module}.weight"), product.first.shape[0]
        scales = {self._updates.scale(each.module, rank) for each in (product, other)}
        return len(scales) == 1 and place is not None and self._shares(place, other.module)
