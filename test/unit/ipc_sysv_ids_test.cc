// Identifiers of System V objects: doc/behaviour.md H1 to H5, and a random walk beside a plain map.
#include <algorithm>
#include <climits>
#include <map>
#include <random>

#include "unit/ipc_sysv_fixture.h"

namespace mqueuefs::ipc::sysv {
namespace {

int id_of(uint32_t sequence, int index) { return static_cast<int>(sequence) * kIndexes + index; }

class SysvIds : public testing::Test {
 protected:
  /// The id, or -errno.
  int add(key_t key = IPC_PRIVATE, uint32_t limit = 32000) {
    const auto id = table.new_id(limit);
    if (!id) return -id.code();
    table.add(*id, std::make_unique<Object>(Permissions{.key = key}));
    return *id;
  }
  void remove(int id) {
    ASSERT_NE(nullptr, table.find(id));
    table.remove(*table.find(id));
  }
  int permute(std::vector<IdChange> changes) { return table.permute(changes).code(); }

  ObjectTable table;
};

TEST_F(SysvIds, NewObjectsTakeTheNextIndexNotTheLowestFreeOne) {
  EXPECT_EQ(0, add());
  EXPECT_EQ(1, add());
  remove(0);
  EXPECT_EQ(2, add());
}

TEST_F(SysvIds, TheSequenceGrowsWhenTheIndexStartsAgainFromBelow) {
  for (int i = 0; i < 64; ++i) {
    const int id = add();
    EXPECT_EQ(i, id);
    remove(id);
  }
  EXPECT_EQ(id_of(1, 0), add());
  EXPECT_EQ(id_of(1, 1), add());
}

// ipc_idr_alloc(): as observed with 100 objects on a kernel.
TEST_F(SysvIds, TheCycleGrowsWithTheNumberOfObjects) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(i, add());
  for (int i = 100; i < 152; ++i) {
    EXPECT_EQ(i, add());
    remove(i);
    if (i == 149) break;  // 101 * 3 / 2 is 151
  }
  EXPECT_EQ(id_of(1, 100), add());
}

TEST_F(SysvIds, AnIdOutOfDateFindsNothingButItsIndexDoes) {
  for (int i = 0; i < 64; ++i) remove(add());
  const int id = add();
  EXPECT_EQ(nullptr, table.find(0));
  EXPECT_EQ(table.find(id), table.find_by_index(0));
  EXPECT_EQ(table.find(id), table.find_by_index(id_of(77, 0)));
  EXPECT_EQ(nullptr, table.find(-1));
  EXPECT_EQ(nullptr, table.find_by_index(-1));
  EXPECT_EQ(nullptr, table.find_by_index(INT_MAX));
}

// ipcid_seq_max() is never reached by the cycle; with 42 places taken it has 22 to go round.
TEST_F(SysvIds, TheSequenceWraps) {
  for (int i = 0; i < 42; ++i) add();
  int last = 0, greatest = 0;
  for (int i = 0; i < 65535 * 22; ++i) {
    const int id = *table.new_id(32000);
    table.add(id, std::make_unique<Object>(Permissions{}));
    table.remove(*table.find(id));
    greatest = std::max(greatest, id);
    last = id;
  }
  EXPECT_EQ(id_of(65534, 63), greatest);
  EXPECT_EQ(greatest, last);
  EXPECT_EQ(42, add());
}

TEST_F(SysvIds, AsManyAsTheLimit) {
  EXPECT_EQ(0, add(IPC_PRIVATE, 2));
  EXPECT_EQ(1, add(IPC_PRIVATE, 2));
  EXPECT_EQ(-ENOSPC, add(IPC_PRIVATE, 2));
  remove(0);
  EXPECT_EQ(2, add(IPC_PRIVATE, 2));
}

TEST_F(SysvIds, AllPlacesCanBeTaken) {
  for (int i = 0; i < kIndexes; ++i) ASSERT_EQ(i, add(i + 1, 100000));
  EXPECT_EQ(-ENOSPC, add(IPC_PRIVATE, 100000));
  EXPECT_EQ(kIndexes - 1, table.greatest_index());
  remove(12345);
  EXPECT_EQ(id_of(1, 12345), add(IPC_PRIVATE, 100000));
  EXPECT_EQ(777, table.find_by_key(778)->id());
}

TEST_F(SysvIds, KeysAreFoundUntilTheirObjectsGoOrBecomePrivate) {
  const int a = add(7), b = add(8);
  EXPECT_EQ(a, table.find_by_key(7)->id());
  table.make_private(*table.find(b));
  EXPECT_EQ(nullptr, table.find_by_key(8));
  EXPECT_EQ(IPC_PRIVATE, table.find(b)->permissions().key);
  remove(a);
  EXPECT_EQ(nullptr, table.find_by_key(7));
  EXPECT_EQ(nullptr, table.find_by_key(IPC_PRIVATE));
}

TEST_F(SysvIds, TheGreatestIndexFollowsRemovals) {
  EXPECT_EQ(-1, table.greatest_index());
  for (int i = 0; i < 70; ++i) add();
  remove(69);
  EXPECT_EQ(68, table.greatest_index());
  for (int i = 1; i < 69; ++i) remove(i);
  EXPECT_EQ(0, table.greatest_index());
  remove(0);
  EXPECT_EQ(-1, table.greatest_index());
}

TEST_F(SysvIds, ObjectsAreListedByIndex) {
  ASSERT_TRUE(table.set_next_id(id_of(3, 200)).ok());
  const int far = add(), near = add();
  EXPECT_EQ(near, table.next_from(-5)->id());
  EXPECT_EQ(near, table.next_from(0)->id());
  EXPECT_EQ(far, table.next_from(1)->id());
  EXPECT_EQ(far, table.next_from(200)->id());
  EXPECT_EQ(nullptr, table.next_from(201));
  EXPECT_EQ(nullptr, table.next_from(INT_MAX));
}

// --- doc/behaviour.md H3 ---

TEST_F(SysvIds, AnIdAskedForIsGivenOnceAndTheCycleGoesOn) {
  EXPECT_EQ(0, add());
  ASSERT_TRUE(table.set_next_id(INT_MAX).ok());
  EXPECT_EQ(INT_MAX, add());
  EXPECT_EQ(-1, table.next_id());
  EXPECT_EQ(1, add());
}

TEST_F(SysvIds, AnIdAskedForWhosePlaceIsTakenGivesTheNextPlaceWithItsSequence) {
  add(), add(), add();
  ASSERT_TRUE(table.set_next_id(id_of(5, 1)).ok());
  EXPECT_EQ(id_of(5, 3), add());
  EXPECT_EQ(4, add());
}

TEST_F(SysvIds, AnIdAskedForBehindWhichAllPlacesAreTakenIsRefusedAndForgotten) {
  ASSERT_TRUE(table.set_next_id(INT_MAX).ok());
  EXPECT_EQ(INT_MAX, add());
  ASSERT_TRUE(table.set_next_id(INT_MAX).ok());
  EXPECT_EQ(-ENOSPC, add());
  EXPECT_EQ(-1, table.next_id());
  EXPECT_EQ(0, add());
}

TEST_F(SysvIds, AWishCanBeTakenBackAndOthersAreRefused) {
  ASSERT_TRUE(table.set_next_id(9).ok());
  ASSERT_TRUE(table.set_next_id(-1).ok());
  EXPECT_EQ(0, add());
  EXPECT_EQ(EINVAL, table.set_next_id(-2).code());
}

TEST_F(SysvIds, AskingForTheNewIdChangesNothing) {
  ASSERT_TRUE(table.set_next_id(9).ok());
  EXPECT_EQ(9, *table.new_id(10));
  EXPECT_EQ(9, table.next_id());
  EXPECT_EQ(9, add());
  EXPECT_EQ(0, *table.new_id(10));
  EXPECT_EQ(0, *table.new_id(10));
}

// --- doc/behaviour.md H4 ---

TEST_F(SysvIds, ChangeIdMovesTheObjectWithItsKey) {
  const int id = add(5);
  Object* const object = table.find(id);
  EXPECT_EQ(0, table.change_id(id, id_of(7, 300)).code());
  EXPECT_EQ(nullptr, table.find(id));
  EXPECT_EQ(object, table.find(id_of(7, 300)));
  EXPECT_EQ(object, table.find_by_key(5));
  EXPECT_EQ(300, table.greatest_index());
  EXPECT_EQ(1u, table.count());
}

TEST_F(SysvIds, ChangeIdMayChangeTheSequenceAlone) {
  const int id = add();
  EXPECT_EQ(0, table.change_id(id, id).code());
  EXPECT_EQ(0, table.change_id(id, id_of(65535, 0)).code());
  EXPECT_NE(nullptr, table.find(id_of(65535, 0)));
}

TEST_F(SysvIds, ChangeIdRefusesWhatIsNoObjectNoIdOrNotFree) {
  const int a = add(), b = add();
  EXPECT_EQ(EINVAL, table.change_id(99, 100).code());
  EXPECT_EQ(EINVAL, table.change_id(-1, 100).code());
  EXPECT_EQ(EINVAL, table.change_id(id_of(1, a), 100).code());
  EXPECT_EQ(EINVAL, table.change_id(a, -1).code());
  EXPECT_EQ(EINVAL, table.change_id(a, INT_MIN).code());
  EXPECT_EQ(EBUSY, table.change_id(a, b).code());
  EXPECT_EQ(EBUSY, table.change_id(a, id_of(9, b)).code());
  EXPECT_NE(nullptr, table.find(a));
}

// --- doc/behaviour.md H5 ---

TEST_F(SysvIds, TwoObjectsChangePlaces) {
  const int a = add(1), b = add(2);
  Object *const was_a = table.find(a), *const was_b = table.find(b);
  EXPECT_EQ(0, permute({{a, b}, {b, a}}));
  EXPECT_EQ(was_a, table.find(b));
  EXPECT_EQ(was_b, table.find(a));
  EXPECT_EQ(b, table.find_by_key(1)->id());
}

TEST_F(SysvIds, ACycleOfThousandsTurnsAtOnce) {
  std::vector<IdChange> changes;
  for (int i = 0; i < 20000; ++i) {
    ASSERT_EQ(i, add(i + 1));
    changes.push_back({i, id_of(2, (i + 1) % 20000)});
  }
  EXPECT_EQ(0, permute(changes));
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(id_of(2, (i + 1) % 20000), table.find_by_key(i + 1)->id());
}

TEST_F(SysvIds, APlaceThatOneLeavesIsFreeForAnother) {
  const int a = add(1), b = add(2);
  EXPECT_EQ(0, permute({{a, id_of(4, b)}, {b, 1000}}));
  EXPECT_EQ(id_of(4, b), table.find_by_key(1)->id());
  EXPECT_EQ(1000, table.find_by_key(2)->id());
  EXPECT_EQ(nullptr, table.find(a));
}

TEST_F(SysvIds, IfOneChangeCannotBeNoneIs) {
  const int a = add(1), b = add(2), c = add(3);
  EXPECT_EQ(EBUSY, permute({{a, b}, {b, c}}));
  EXPECT_EQ(EINVAL, permute({{a, b}, {b, a}, {99, 100}}));
  EXPECT_EQ(EINVAL, permute({{a, b}, {b, -3}}));
  EXPECT_EQ(EINVAL, permute({{a, 50}, {a, 51}}));
  EXPECT_EQ(EINVAL, permute({{a, 50}, {b, id_of(1, 50)}}));
  EXPECT_EQ(EINVAL, table.permute(std::vector<IdChange>(kIndexes + 1)).code());
  for (key_t key = 1; key <= 3; ++key) EXPECT_EQ(key - 1, table.find_by_key(key)->id());
  EXPECT_EQ(2, table.greatest_index());
  EXPECT_EQ(0, permute({}));
}

// --- a random walk ---

// What the table must agree with: a map from id to key.
class RandomIds : public SysvIds, public testing::WithParamInterface<uint32_t> {
 protected:
  uint32_t pick(uint32_t end) { return static_cast<uint32_t>(random() % end); }
  int some_id() {
    if (!model.empty() && pick(5) != 0) return std::next(model.begin(), pick(static_cast<uint32_t>(model.size())))->first;
    return pick(3) == 0 ? static_cast<int>(random()) : id_of(pick(3), static_cast<int>(pick(100)));
  }
  bool index_is_taken(int id, const std::map<int, key_t>& in) const {
    for (const auto& [other, key] : in) {
      if (other % kIndexes == id % kIndexes) return true;
    }
    return false;
  }

  void create_some() {
    const key_t key = static_cast<key_t>(pick(50));
    if (key != IPC_PRIVATE && table.find_by_key(key) != nullptr) return;
    const int wish = table.next_id();
    const int id = add(key, 60);
    if (model.size() >= 60) {
      ASSERT_EQ(-ENOSPC, id);
      return;
    }
    ASSERT_EQ(-1, table.next_id());
    if (id < 0) {
      ASSERT_EQ(-ENOSPC, id);
      ASSERT_GE(wish, 0);
      return;
    }
    ASSERT_FALSE(index_is_taken(id, model)) << id;
    if (wish >= 0) {
      int expected = wish;
      while (index_is_taken(expected, model)) expected++;
      ASSERT_EQ(expected, id);
    } else {
      ASSERT_LT(id % kIndexes, 90);  // the longest cycle of 60
    }
    model[id] = key;
  }

  void permute_some() {
    std::vector<IdChange> changes;
    std::map<int, key_t> rest = model, moved;
    bool is_valid = true;
    std::set<int> indexes;
    // Places of the objects named, in another order, some with another sequence; now and then anything at all.
    std::vector<int> places, named;
    for (uint32_t i = pick(8) + 1; i > 0; --i) named.push_back(some_id());
    if (pick(4) != 0) {
      std::erase_if(named, [&](int id) { return !model.contains(id); });
      std::ranges::sort(named);
      named.erase(std::unique(named.begin(), named.end()), named.end());
    }
    places = named;
    std::ranges::shuffle(places, random);
    for (const int from : named) {
      int to = pick(20) == 0 ? some_id() : places.back();
      places.pop_back();
      if (to >= 0 && pick(2) == 0) to = id_of(pick(4), to % kIndexes);
      changes.push_back({from, to});
      is_valid &= to >= 0 && rest.contains(from) && indexes.insert(to % kIndexes).second;
      if (!is_valid) continue;
      moved[to] = rest[from];
      rest.erase(from);
    }
    const int code = table.permute(changes).code();
    if (!is_valid) {
      ASSERT_EQ(EINVAL, code);
      return;
    }
    for (const auto& [to, key] : moved) {
      if (!index_is_taken(to, rest)) continue;
      ASSERT_EQ(EBUSY, code);
      return;
    }
    ASSERT_EQ(0, code);
    permuted += changes.size() > 1;
    model = std::move(rest);
    model.merge(moved);
  }

  void change_some() {
    const int from = some_id(), to = some_id();
    int expected = 0;
    if (!model.contains(from) || to < 0) {
      expected = EINVAL;
    } else if (to % kIndexes != from % kIndexes && index_is_taken(to, model)) {
      expected = EBUSY;
    }
    ASSERT_EQ(expected, table.change_id(from, to).code()) << from << " to " << to;
    if (expected != 0) return;
    const key_t key = model[from];
    model.erase(from);
    model[to] = key;
  }

  void compare() {
    ASSERT_EQ(model.size(), table.count());
    int greatest = -1;
    for (const auto& [id, key] : model) {
      ASSERT_NE(nullptr, table.find(id)) << id;
      ASSERT_EQ(table.find(id), table.find_by_index(id));
      if (key != IPC_PRIVATE) {
        ASSERT_EQ(table.find(id), table.find_by_key(key));
      }
      greatest = std::max(greatest, id % kIndexes);
    }
    ASSERT_EQ(greatest, table.greatest_index());
    size_t listed = 0;
    for (Object* object = table.next_from(0); object != nullptr; object = table.next_from(object->permissions().index() + 1)) {
      ASSERT_TRUE(model.contains(object->id()));
      listed++;
    }
    ASSERT_EQ(model.size(), listed);
  }

  std::mt19937 random{GetParam()};
  std::map<int, key_t> model;
  int permuted = 0;
};

TEST_P(RandomIds, AgreeWithAMap) {
  for (int step = 0; step < 20000; ++step) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(step));
    switch (pick(8)) {
      case 0:
      case 1:
      case 2: create_some(); break;
      case 3:
      case 4:
        if (const int id = some_id(); model.erase(id) != 0) {
          table.remove(*table.find(id));
        } else {
          ASSERT_EQ(nullptr, table.find(id));
        }
        break;
      case 5: change_some(); break;
      case 6: permute_some(); break;
      default:
        ASSERT_TRUE(table.set_next_id(std::max(some_id(), -1)).ok());
    }
    if (HasFatalFailure()) return;
    if (step % 16 == 0) compare();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(permuted, 1000);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomIds, testing::Values(1u, 2u, 3u, 2008u));

}  // namespace
}  // namespace mqueuefs::ipc::sysv
