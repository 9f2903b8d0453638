package waitroom;

import java.io.Serializable;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.util.Arrays;
import org.hibernate.usertype.UserType;

/** PostgreSQL's text[], which Hibernate does not know. */
@SuppressWarnings("deprecation")
public final class TextArray implements UserType {
    @Override
    public int[] sqlTypes() {
        return new int[] {Types.ARRAY};
    }

    @Override
    public Class<?> returnedClass() {
        return String[].class;
    }

    @Override
    public Object nullSafeGet(ResultSet row, String[] names, Object owner) throws SQLException {
        return row.getArray(names[0]).getArray();
    }

    @Override
    public void nullSafeSet(PreparedStatement statement, Object value, int index) throws SQLException {
        statement.setArray(index, statement.getConnection().createArrayOf("text", (String[]) value));
    }

    @Override
    public boolean equals(Object one, Object other) {
        return Arrays.equals((String[]) one, (String[]) other);
    }

    @Override
    public int hashCode(Object value) {
        return Arrays.hashCode((String[]) value);
    }

    @Override
    public boolean isMutable() {
        return false;
    }

    @Override
    public Object deepCopy(Object value) {
        return value;
    }

    @Override
    public Serializable disassemble(Object value) {
        return (Serializable) value;
    }

    @Override
    public Object assemble(Serializable cached, Object owner) {
        return cached;
    }

    @Override
    public Object replace(Object original, Object target, Object owner) {
        return original;
    }
}
